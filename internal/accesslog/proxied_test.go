package accesslog

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

func TestStored(t *testing.T) {
	rows := []faas.RequestLog{{Operation: faas.Invoke}, {Operation: faas.Proxied}, {Operation: faas.InvokeHTTP}}
	want := []faas.RequestLog{{Operation: faas.Invoke}, {Operation: faas.InvokeHTTP}}
	if diff := cmp.Diff(want, stored(rows)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(rows) != 3 || rows[1].Operation != faas.Proxied {
		t.Error("what is to be counted changed")
	}
}
