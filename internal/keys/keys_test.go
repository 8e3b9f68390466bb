package keys_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/keys"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testrig.WithPostgres(m)) }

// faulty is a store that can be away, and counts how often it is asked for a key.
type faulty struct {
	*sqlite.Store
	away  atomic.Bool
	asked atomic.Int32
}

var errAway = &faas.Error{Code: faas.Unavailable, Message: "the store is not available; try again"}

func (f *faulty) FindKey(ctx context.Context, hash faas.KeyHash) (faas.APIKey, error) {
	if f.asked.Add(1); f.away.Load() {
		return faas.APIKey{}, errAway
	}
	return f.Store.FindKey(ctx, hash)
}

func (f *faulty) RevokeKey(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error {
	if f.away.Load() {
		return errAway
	}
	return f.Store.RevokeKey(ctx, by, namespace, id)
}

func (f *faulty) NoteKeyUses(ctx context.Context, used map[string]time.Time) error {
	if f.away.Load() {
		return errAway
	}
	return f.Store.NoteKeyUses(ctx, used)
}

// rig is Keys on a real store, at a time of the test's own.
type rig struct {
	*keys.Keys
	*testing.T
	store    *faulty
	log      testrig.Text
	registry *prometheus.Registry
	ahead    atomic.Int64 // of the clock
}

const adminKey = "an operator's text of 32 or more characters"

func newRig(t *testing.T, o keys.Options) *rig {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := &rig{T: t, store: &faulty{Store: store}, registry: prometheus.NewRegistry()}
	o.Store, o.Registerer, o.Now = r.store, r.registry, r.now
	o.Logger = slog.New(slog.NewTextHandler(&r.log, nil))
	r.Keys = keys.New(o)
	return r
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }

func (r *rig) pass(d time.Duration) { r.ahead.Add(int64(d)) }

func (r *rig) create(key faas.APIKey) (id, secret string) {
	r.Helper()
	key.Name, key.UserID, key.Scopes = "a key", "ada", faas.Scopes{faas.ExecuteAll}
	created, secret, err := r.Create(r.Context(), faas.Actor{}, key)
	if err != nil {
		r.Fatal(err)
	}
	return created.ID, secret
}

// wantError verifies a secret, and wants the error; nil for none.
func (r *rig) wantError(what, secret string, want error) {
	r.Helper()
	key, err := r.Verify(r.Context(), secret)
	if !errors.Is(err, want) || err == nil && key.UserID == "" || err != nil && key.UserID != "" {
		r.Errorf("%s: %+v, %v; want %v", what, key, err, want)
	}
	if r.Failed() && strings.Contains(r.log.String(), secret) {
		r.Errorf("%s: the log has the secret", what)
	}
}

func (r *rig) wantAsked(what string, want int32) {
	r.Helper()
	if got := r.store.asked.Load(); got != want {
		r.Errorf("%s: the store was asked %d times, want %d", what, got, want)
	}
}

// metric is the sum of all values of a metric whose labels have a value, or of all.
func (r *rig) metric(name, label string) (sum float64) {
	r.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestVerify(t *testing.T) {
	r := newRig(t, keys.Options{AdminKey: adminKey})
	id, secret := r.create(faas.APIKey{Languages: []faas.Language{faas.Python}})
	_, brief := r.create(faas.APIKey{ExpiresAt: r.now().Add(time.Hour)})
	revoked, ended := r.create(faas.APIKey{})
	if err := r.Revoke(t.Context(), faas.Actor{}, "", revoked); err != nil {
		t.Fatal(err)
	}
	r.wantError("before it expires", brief, nil)
	r.pass(time.Hour + time.Second)
	_, none := faas.NewKeySecret()
	wrong := secret[:len(secret)-2] + none[len(none)-2:]
	for what, test := range map[string]struct {
		secret string
		want   error
	}{
		"a key":              {secret, nil},
		"the operator's":     {adminKey, nil},
		"nothing":            {"", faas.ErrKeyForm},
		"no key":             {"Bearer x", faas.ErrKeyForm},
		"too long":           {strings.Repeat("x", 1<<20), faas.ErrKeyForm},
		"a part of the key":  {secret[:40], faas.ErrKeyForm},
		"nobody's":           {none, faas.ErrNoKey},
		"wrong":              {wrong, faas.ErrNoKey},
		"an id of another":   {secret[:3] + none[3:15] + secret[15:], faas.ErrNoKey},
		"expired":            {brief, faas.ErrKeyExpired},
		"revoked":            {ended, faas.ErrKeyRevoked},
		"nearly the admin's": {adminKey[1:], faas.ErrKeyForm},
	} {
		r.wantError(what, test.secret, test.want)
		r.wantError(what+", again", test.secret, test.want)
	}
	key, err := r.Verify(t.Context(), secret)
	if err != nil || key.ID != id || key.Caller().Scopes.String() != "execute:python" {
		t.Errorf("the key is %+v, %v", key, err)
	}
	if admin, err := r.Verify(t.Context(), adminKey); err != nil || admin.UserID != "admin" || !admin.Scopes.Allow(faas.Admin) {
		t.Errorf("the operator's key is %+v, %v", admin, err)
	}
	for reason, want := range map[string]float64{"unknown": 6, "expired": 2, "revoked": 2, "malformed": 10} {
		if got := r.metric("envoke_keys_refused_total", reason); got != want {
			t.Errorf("%v were refused as %s, want %v", got, reason, want)
		}
	}
	if got := r.metric("envoke_keys_verified_total", ""); got != 7 {
		t.Errorf("%v were verified", got)
	}
}

// TestWithoutAdminKey: the empty text, whose hash anybody knows, is no key.
func TestWithoutAdminKey(t *testing.T) {
	r := newRig(t, keys.Options{})
	r.wantError("nothing", "", faas.ErrKeyForm)
	r.wantError("the operator's of another", adminKey, faas.ErrKeyForm)
}

// TestMemory: the store is asked once in a while, of keys and of guesses.
func TestMemory(t *testing.T) {
	r := newRig(t, keys.Options{})
	_, secret := r.create(faas.APIKey{})
	_, guess := faas.NewKeySecret()
	for range 100 {
		r.wantError("a key", secret, nil)
		r.wantError("a guess", guess, faas.ErrNoKey)
	}
	r.wantAsked("once each", 2)
	r.pass(11 * time.Second)
	r.wantError("a key", secret, nil)
	r.wantError("a guess", guess, faas.ErrNoKey)
	r.wantAsked("after a while", 4)
}

// TestBounds: those who guess push no key out of memory.
func TestBounds(t *testing.T) {
	r := newRig(t, keys.Options{MaxKeys: 2})
	var secrets []string
	for range 3 {
		_, secret := r.create(faas.APIKey{})
		secrets = append(secrets, secret)
	}
	for _, secret := range secrets[:2] {
		r.wantError("a key", secret, nil)
	}
	for range 50 {
		_, guess := faas.NewKeySecret()
		r.wantError("a guess", guess, faas.ErrNoKey)
	}
	for _, secret := range secrets[:2] {
		r.wantError("a key", secret, nil)
	}
	r.wantAsked("with room", 52)
	for range 2 {
		for _, secret := range secrets {
			r.wantError("a key", secret, nil)
		}
	}
	r.wantAsked("without room", 56) // the first two were still there once
}

// TestRevoke: a revoked key is refused from the next call on.
func TestRevoke(t *testing.T) {
	r := newRig(t, keys.Options{})
	id, secret := r.create(faas.APIKey{})
	_, other := r.create(faas.APIKey{})
	r.wantError("before", secret, nil)
	r.wantError("another", other, nil)
	for range 2 {
		if err := r.Revoke(t.Context(), faas.Actor{}, "", id); err != nil {
			t.Fatal(err)
		}
		r.wantError("after", secret, faas.ErrKeyRevoked)
	}
	r.wantError("another", other, nil)
	if n := r.store.asked.Load(); n != 4 {
		t.Errorf("the store was asked %d times: the other key should stay", n)
	}
	none, _ := faas.NewKeySecret()
	for _, id := range []string{none, "", "../x", other} {
		if err := r.Revoke(t.Context(), faas.Actor{}, "", id); !faas.IsNotFound(err) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestStoreAway: known keys go on for an hour, and others are not called wrong.
func TestStoreAway(t *testing.T) {
	r := newRig(t, keys.Options{})
	_, secret := r.create(faas.APIKey{ExpiresAt: r.now().Add(90 * time.Minute)})
	id, ended := r.create(faas.APIKey{})
	_, unasked := r.create(faas.APIKey{})
	r.wantError("before", secret, nil)
	r.wantError("before", ended, nil)
	r.store.away.Store(true)
	r.pass(30 * time.Minute)
	for range 10 {
		r.wantError("a known one", secret, nil)
	}
	r.wantAsked("no more than once a second", 3)
	if got := r.metric("envoke_keys_verified_total", "stale"); got != 1 {
		t.Errorf("%v were verified as stale", got)
	}
	r.wantError("one that is not known", unasked, errAway)
	if err := r.Revoke(t.Context(), faas.Actor{}, "", id); !errors.Is(err, errAway) {
		t.Errorf("revoke: %v", err)
	}
	r.wantError("one that was perhaps revoked", ended, errAway)
	r.pass(31 * time.Minute)
	r.wantError("for too long", secret, errAway)
	r.store.away.Store(false)
	r.wantError("back again", secret, nil)
	r.pass(30 * time.Minute)
	r.store.away.Store(true)
	r.wantError("expired meanwhile", secret, faas.ErrKeyExpired)
}

// TestUses: the last use is stored by and by, and what waits when Serve ends.
func TestUses(t *testing.T) {
	r := newRig(t, keys.Options{AdminKey: adminKey})
	_, secret := r.create(faas.APIKey{})
	_, idle := r.create(faas.APIKey{})
	lastUsed := func(secret string) time.Time {
		t.Helper()
		key, err := r.store.Store.FindKey(t.Context(), faas.HashKeySecret(secret))
		if err != nil {
			t.Fatal(err)
		}
		return key.LastUsedAt
	}
	serve := func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Serve(ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.wantError("a key", secret, nil)
	r.wantError("the operator's", adminKey, nil)
	r.store.away.Store(true)
	serve()
	if !lastUsed(secret).IsZero() || strings.Count(r.log.String(), "cannot be stored") != 1 {
		t.Errorf("used at %v with the store away; the log is %s", lastUsed(secret), r.log.String())
	}
	r.store.away.Store(false)
	serve()
	if used := lastUsed(secret); time.Since(used) > time.Minute || !lastUsed(idle).IsZero() {
		t.Errorf("used at %v, and the idle one at %v", used, lastUsed(idle))
	}
	if got := r.metric("envoke_keys_uses_stored_total", ""); got != 1 {
		t.Errorf("%v uses were stored", got)
	}
}

func TestList(t *testing.T) {
	r := newRig(t, keys.Options{})
	id, _ := r.create(faas.APIKey{})
	listed, total, err := r.List(t.Context(), faas.KeyQuery{UserID: "ada", Page: 1, PerPage: 10})
	if err != nil || total != 1 || len(listed) != 1 || listed[0].ID != id {
		t.Errorf("%+v, %d, %v", listed, total, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	store, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "envoke.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	k := keys.New(keys.Options{Store: store, AdminKey: adminKey, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	_, secret, err := k.Create(b.Context(), faas.Actor{}, faas.APIKey{UserID: "ada", Scopes: faas.Scopes{faas.ExecuteAll}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Verify(b.Context(), secret); err != nil {
			b.Fatal(err)
		}
	}
}
