package main

import (
	"net/http"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// TestReplicasHearChanges: what one installation changes, another on the same PostgreSQL serves.
func TestReplicasHearChanges(t *testing.T) {
	flags := []string{"--database-url", testrig.Postgres(t)}
	one, two := serve(t, flags...), serve(t, flags...)
	definition := func(version string) string {
		return `{"language":"nodejs","title":"shared","script_content":"return ` + version + `"}`
	}
	serves := func(what, want string) {
		t.Helper()
		testrig.Eventually(t, what, func() bool {
			r := two.send(t, http.MethodPost, "/function/nodejs-shared", "{}")
			return string(r.body) == want || want == "" && r.status == http.StatusNotFound
		})
	}
	one.must(t, http.StatusCreated, http.MethodPost, functionsPath, definition("1"))
	serves("the function is there", "1")
	for _, version := range []string{"2", "3", "4"} {
		one.must(t, http.StatusOK, http.MethodPut, functionsPath+"/nodejs-shared", definition(version))
		serves("version "+version, version)
	}
	one.must(t, http.StatusOK, http.MethodPost, functionsPath+"/nodejs-shared/rollback", `{"version":2}`)
	serves("the rollback", "2")
	one.must(t, http.StatusNoContent, http.MethodDelete, functionsPath+"/nodejs-shared", "")
	serves("the function is gone", "")

	id := two.initialize(t, "return 1")
	two.execute(t, id, "null").result(t)
	one.must(t, http.StatusNoContent, http.MethodDelete, "/api/v1/sessions/"+id, "")
	for _, headers := range [][]string{nil, {"X-Cache-Control", "no-cache"}} {
		testrig.Eventually(t, "the session is gone by "+strings.Join(headers, " "), func() bool {
			return two.execute(t, id, "null", headers...).status == http.StatusNotFound
		})
	}
}
