// Package storetest is the contract of a store, as tests: every adapter runs the
// same suite.
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"envoke/internal/faas"
)

// Store is all that Envoke asks of a store. Its users each declare the few methods
// that they need.
type Store interface {
	Close() error
	Ping(context.Context) error
	SessionKey(context.Context) (faas.SessionKey, error)

	CreateSession(context.Context, faas.Session, *faas.Script) error
	FindSession(context.Context, faas.SessionID) (faas.Session, error)
	// FindLive may return a session as it was created, with old counts of its executes.
	FindLive(context.Context, faas.SessionID) (faas.Session, error)
	SetBuild(context.Context, faas.SessionID, faas.CompileStatus, faas.Build) error
	TakeContext(ctx context.Context, id faas.SessionID, host string, until time.Time) (json.RawMessage, error)
	PutContext(ctx context.Context, id faas.SessionID, host string, left json.RawMessage) error
	DeleteSession(context.Context, faas.Actor, faas.SessionID) error
	SweepSessions(ctx context.Context, expiredBefore time.Time, limit int) (int, error)
	FindScript(context.Context, faas.Digest) (faas.Script, error)

	FindModule(ctx context.Context, digest string) ([]byte, error)
	KeepModule(ctx context.Context, digest string, wasm []byte) error
	SweepModules(ctx context.Context, bytes int64, limit int) (int, error)

	CreateFunction(context.Context, faas.Actor, faas.Function) (faas.Function, error)
	AddVersion(context.Context, faas.Actor, faas.Function) (faas.Function, error)
	FindFunction(context.Context, faas.Ref) (faas.Function, error)
	EverRegistered(context.Context, faas.Name) (bool, error)
	DeleteFunction(context.Context, faas.Actor, faas.Name) error
	ListFunctions(context.Context, faas.FunctionQuery) ([]faas.Function, int, error)
	ListVersions(context.Context, faas.Name) ([]faas.Version, error)
	SetCurrentVersion(ctx context.Context, by faas.Actor, name faas.Name, version int) error
	PutAlias(context.Context, faas.Actor, faas.Name, faas.Alias) (faas.Alias, error)
	ListAliases(context.Context, faas.Name) ([]faas.Alias, error)
	DeleteAlias(ctx context.Context, by faas.Actor, name faas.Name, alias string) error

	PutSecret(context.Context, faas.Actor, faas.Secret) error
	ListSecrets(ctx context.Context, owner string) ([]faas.Secret, error)
	FindSecret(ctx context.Context, owner, name string) (faas.Secret, error)
	DeleteSecret(ctx context.Context, by faas.Actor, owner, name string) error
	StaleSecrets(ctx context.Context, key string, most int) ([]faas.Secret, error)
	ResealSecret(ctx context.Context, by faas.Actor, secret faas.Secret, before []byte) error

	LogOffset(ctx context.Context, file string) (int64, error)
	AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error
	CountRequests(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error
	ForgetLogFile(ctx context.Context, file string) error
	LatestRequestLogs(context.Context, faas.RequestLogQuery) ([]faas.RequestLog, error)
	SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error)

	CreateKey(context.Context, faas.Actor, faas.APIKey) error
	FindKey(context.Context, faas.KeyHash) (faas.APIKey, error)
	ListKeys(context.Context, faas.KeyQuery) ([]faas.APIKey, int, error)
	RevokeKey(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error
	NoteKeyUses(ctx context.Context, used map[string]time.Time) error

	ListAudit(context.Context, faas.AuditQuery) ([]faas.AuditEntry, int, error)

	PutConfig(ctx context.Context, by faas.Actor, c faas.Config, expected int) (faas.Config, error)
	SetCurrentConfig(ctx context.Context, by faas.Actor, version, expected int) error
	CurrentConfig(context.Context) (faas.Config, error)
	FindConfig(ctx context.Context, version int) (faas.Config, error)
	ListConfigs(context.Context) ([]faas.Config, error)

	AppendRecords(context.Context, faas.Records) error
	FindFailures(ctx context.Context, requestIDs []string) ([]faas.Failure, error)
	FindExchanges(ctx context.Context, requestID string) ([]faas.Exchange, error)
	JoinExchanges(context.Context) (int, error)
	SweepRecords(ctx context.Context, before time.Time, limit int) (int, error)
}

// Open opens the store at a place, which is an empty folder at first. The same
// place is the same store, also while it is open already. The test closes it.
type Open func(t testing.TB, place string) Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"Key":                  testKey,
		"Sessions":             testSessions,
		"SessionText":          testSessionText,
		"JSON":                 testJSON,
		"SessionErrors":        testSessionErrors,
		"Builds":               testBuilds,
		"RetainedContexts":     testRetainedContexts,
		"OneHostTakesAContext": testOneHostTakesAContext,
		"DeleteSession":        testDeleteSession,
		"SweepSessions":        testSweepSessions,
		"Modules":              testModules,
		"SweepModules":         testSweepModules,
		"Functions":            testFunctions,
		"FunctionVersions":     testFunctionVersions,
		"FunctionConflicts":    testFunctionConflicts,
		"DeleteFunction":       testDeleteFunction,
		"SetCurrentVersion":    testSetCurrentVersion,
		"Aliases":              testAliases,
		"NoSuchFunction":       testNoSuchFunction,
		"Seeds":                testSeeds,
		"DeletedSeed":          testDeletedSeed,
		"ListFunctions":        testListFunctions,
		"ListPages":            testListPages,
		"Namespaces":           testNamespaces,
		"ListNamespaces":       testListNamespaces,
		"KeysOfNamespaces":     testKeysOfNamespaces,
		"Secrets":              testSecrets,
		"ManySecrets":          testManySecrets,
		"ResealSecrets":        testResealSecrets,
		"RequestLogs":          testRequestLogs,
		"FindRequestLogs":      testFindRequestLogs,
		"RequestLogsAtomic":    testRequestLogsAtomic,
		"CountRequests":        testCountRequests,
		"SweepRequestLogs":     testSweepRequestLogs,
		"APIKeys":              testAPIKeys,
		"RevokedKeys":          testRevokedKeys,
		"UsedKeys":             testUsedKeys,
		"ListKeys":             testListKeys,
		"Audit":                testAudit,
		"AuditedSessions":      testAuditedSessions,
		"AuditOfNamespaces":    testAuditOfNamespaces,
		"ListAudit":            testListAudit,
		"Configs":              testConfigs,
		"ConfigConflicts":      testConfigConflicts,
		"OldConfigs":           testOldConfigs,
		"Failures":             testFailures,
		"Exchanges":            testExchanges,
		"RecordText":           testRecordText,
		"SweepRecords":         testSweepRecords,
		"Concurrency":          testConcurrency,
		"CancelledIsNotBroken": testCancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// key makes the ids of the suite's sessions.
var key = faas.NewSessionKey()

// epoch is when the suite's sessions begin: in the past, with the microseconds
// that every store must keep.
var epoch = time.Date(2025, 3, 1, 12, 30, 15, 123456000, time.UTC)

func fresh(t testing.TB, open Open) Store {
	t.Helper()
	store := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// newSession makes a live session of a script of its own.
func newSession(title, source string) (faas.Session, *faas.Script) {
	script := faas.NewScript(faas.NodeJS, source, nil)
	now := time.Now().UTC().Truncate(time.Microsecond)
	return faas.Session{
		ID:            key.NewID(faas.NodeJS, true),
		Name:          faas.Name{Language: faas.NodeJS, Title: title},
		Digest:        script.Digest,
		Owner:         "session",
		CompileStatus: faas.CompileSuccess,
		CreatedAt:     now,
		ExpiresAt:     now.Add(time.Hour),
		Status:        faas.Active,
	}, &script
}

func mustCreate(t testing.TB, store Store, session faas.Session, script *faas.Script) {
	t.Helper()
	if err := store.CreateSession(t.Context(), session, script); err != nil {
		t.Fatal(err)
	}
}

func mustFind(t testing.TB, store Store, id faas.SessionID) faas.Session {
	t.Helper()
	session, err := store.FindSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// mustPut registers a function, or adds a version to it.
func mustPut(t *testing.T, store Store, f faas.Function) faas.Function {
	t.Helper()
	put := store.CreateFunction
	if _, err := store.FindFunction(t.Context(), faas.Ref{Name: f.Name}); err == nil {
		put = store.AddVersion
	}
	stored, err := put(t.Context(), faas.Actor{}, f)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// wantCode checks that an error is a *faas.Error of the code; "" wants none.
func wantCode(t *testing.T, what string, err error, code faas.Code) {
	t.Helper()
	var e *faas.Error
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case code != "" && (!errors.As(err, &e) || e.Code != code):
		t.Errorf("%s: error is %v, want %s", what, err, code)
	}
}

// asBytes compares documents at once: by elements a megabyte takes seconds.
var asBytes = cmp.FilterValues(func(a, b json.RawMessage) bool { return len(a) > 0 || len(b) > 0 },
	cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }))

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), asBytes); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
