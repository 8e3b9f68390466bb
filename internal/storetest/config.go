package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
)

func mustPutConfig(t *testing.T, store Store, document string) faas.Config {
	t.Helper()
	c, err := store.PutConfig(t.Context(), root, faas.NewConfig(document, root.UserID), faas.AnyConfig)
	wantCode(t, "put a config", err, "")
	return c
}

// configNumbers are the versions that are kept, newest first, with a * behind the current one.
func configNumbers(t *testing.T, store Store) string {
	t.Helper()
	list, err := store.ListConfigs(t.Context())
	wantCode(t, "list configs", err, "")
	var numbers []string
	for _, c := range list {
		mark := ""
		if c.Current {
			mark = "*"
		}
		if c.Document != "" || c.Bytes == 0 {
			t.Errorf("version %d is listed with %d bytes of %d", c.Version, len(c.Document), c.Bytes)
		}
		numbers = append(numbers, fmt.Sprint(c.Version, mark))
	}
	return strings.Join(numbers, " ")
}

// testConfigs: versions are numbered, found as they were put, and any that is kept may be the
// current one.
func testConfigs(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	_, err := store.CurrentConfig(t.Context())
	wantCode(t, "the current config of none", err, faas.NotFound)
	equal(t, "numbers of none", configNumbers(t, store), "")
	before := time.Now().Truncate(time.Microsecond)
	const document = "# a comment 'ü' 日本\nroutes: []\n"
	first := mustPutConfig(t, store, document)
	second := mustPutConfig(t, store, "{}")
	if first.CreatedAt.Before(before) || first.CreatedAt.After(time.Now()) {
		t.Errorf("it was put at %v", first.CreatedAt)
	}
	want := faas.NewConfig(document, root.UserID)
	want.Version, want.CreatedAt = 1, first.CreatedAt
	for range 2 { // before it is opened again, and after
		got, err := store.FindConfig(t.Context(), 1)
		wantCode(t, "find", err, "")
		equal(t, "version 1", got, want)
		got, err = store.CurrentConfig(t.Context())
		wantCode(t, "find the current one", err, "")
		equal(t, "version 2", got, second)
		wantCode(t, "close", store.Close(), "")
		store = open(t, place)
	}
	defer store.Close()
	wantCode(t, "roll back", store.SetCurrentConfig(t.Context(), root, 1, 2), "")
	equal(t, "numbers", configNumbers(t, store), "2 1*")
	wantCode(t, "roll back to none", store.SetCurrentConfig(t.Context(), root, 3, faas.AnyConfig), faas.NotFound)
	_, err = store.FindConfig(t.Context(), 3)
	wantCode(t, "find none", err, faas.NotFound)
	equal(t, "the next number", mustPutConfig(t, store, "{}").Version, 3)
}

// testConfigConflicts: of those who change the same version, one does.
func testConfigConflicts(t *testing.T, open Open) {
	store := fresh(t, open)
	put := func(expected int) error {
		_, err := store.PutConfig(t.Context(), root, faas.NewConfig("{}", ""), expected)
		return err
	}
	wantCode(t, "the first", put(0), "")
	wantCode(t, "a second first", put(0), faas.Conflict)
	wantCode(t, "of a version to come", put(2), faas.Conflict)
	wantCode(t, "roll back another", store.SetCurrentConfig(t.Context(), root, 1, 5), faas.Conflict)
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		done int
	)
	for range 8 {
		all.Go(func() {
			if put(1) == nil {
				mu.Lock()
				defer mu.Unlock()
				done++
			}
		})
	}
	all.Wait()
	equal(t, "how many were first", done, 1)
	equal(t, "numbers", configNumbers(t, store), "2* 1")
	equal(t, "rows", len(mustListAudit(t, store, faas.AuditQuery{Target: faas.ConfigTarget})), 2)
}

// testOldConfigs: the oldest go, but the current one.
func testOldConfigs(t *testing.T, open Open) {
	store := fresh(t, open)
	mustPutConfig(t, store, "{}")
	for range 2 {
		mustPutConfig(t, store, "{}")
	}
	wantCode(t, "roll back", store.SetCurrentConfig(t.Context(), root, 2, 3), "")
	for range faas.ConfigsKept {
		mustPutConfig(t, store, "{}")
	}
	list, err := store.ListConfigs(t.Context())
	wantCode(t, "list", err, "")
	equal(t, "the oldest", list[len(list)-1].Version, 4)
	equal(t, "how many", len(list), faas.ConfigsKept)
	wantCode(t, "roll back to one that went", store.SetCurrentConfig(t.Context(), root, 1, faas.AnyConfig), faas.NotFound)
}
