package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"envoke/internal/faas"
	"envoke/internal/sqlite"
)

// createSessions prints the id of each session after it was created.
func createSessions(path string) {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, path)
	for i := 0; err == nil; i++ {
		session, script := newSession(fmt.Sprint("return ", i))
		if err = store.CreateSession(ctx, session, &script); err == nil {
			fmt.Fprintln(os.Stdout, session.ID)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

var key = faas.NewSessionKey()

func newSession(source string) (faas.Session, faas.Script) {
	script := faas.NewScript(faas.NodeJS, source, nil)
	return faas.Session{
		ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "t"}, Digest: script.Digest,
		Owner: "session", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Status: faas.Active,
	}, script
}
