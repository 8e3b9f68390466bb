package controlpb

import (
	"strings"
	"time"

	"envoke/internal/faas"
)

// NewSession makes the message of a session. Counts and status are not part of it.
func NewSession(s *faas.Session) *Session {
	return &Session{
		Id:            string(s.ID),
		LanguageTitle: s.Name.Key(),
		Digest:        string(s.Digest),
		Version:       int32(s.Version),
		Owner:         s.Owner,
		UserId:        s.UserID,
		Context:       s.Context,
		Schema:        s.Schema,
		TimeoutMs:     s.Timeout.Milliseconds(),
		MemoryMb:      int32(s.MemoryMB),
		Network:       string(s.Network),
		Environment:   s.Environment.JSON(),
		Limits:        newLimits(s.Limits),
		CompileStatus: string(s.CompileStatus),
		Build:         NewBuild(s.Build),
		Retain:        s.Retain,
		CreatedUnixMs: s.CreatedAt.UnixMilli(),
		ExpiresUnixMs: s.ExpiresAt.UnixMilli(),
	}
}

// Session is the session that the message describes, an active one.
func (x *Session) Session() (faas.Session, error) {
	name, err := faas.ParseKey(x.GetLanguageTitle())
	if err != nil {
		return faas.Session{}, err
	}
	environment, err := faas.ParseEnvironment(x.GetEnvironment())
	if err != nil {
		return faas.Session{}, err
	}
	return faas.Session{
		ID:            faas.SessionID(x.GetId()),
		Name:          name,
		Digest:        faas.Digest(x.GetDigest()),
		Version:       int(x.GetVersion()),
		Owner:         x.GetOwner(),
		UserID:        x.GetUserId(),
		Context:       x.GetContext(),
		Schema:        x.GetSchema(),
		Timeout:       time.Duration(x.GetTimeoutMs()) * time.Millisecond,
		MemoryMB:      int(x.GetMemoryMb()),
		Network:       faas.Network(x.GetNetwork()),
		Environment:   environment,
		Limits:        x.GetLimits().limits(),
		CompileStatus: faas.CompileStatus(x.GetCompileStatus()),
		Build:         x.GetBuild().Build(),
		Retain:        x.GetRetain(),
		CreatedAt:     time.UnixMilli(x.GetCreatedUnixMs()).UTC(),
		ExpiresAt:     time.UnixMilli(x.GetExpiresUnixMs()).UTC(),
		Status:        faas.Active,
	}, nil
}

// NewBuild makes the message of a build; nil where there is nothing to tell.
func NewBuild(b faas.Build) *Build {
	if b.Step == "" && b.Since.IsZero() && b.Error == nil {
		return nil
	}
	message := &Build{Step: b.Step, Error: b.Error}
	if !b.Since.IsZero() {
		message.SinceUnixMs = b.Since.UnixMilli()
	}
	return message
}

// Build is the build that the message describes.
func (x *Build) Build() faas.Build {
	b := faas.Build{Step: x.GetStep(), Error: x.GetError()}
	if ms := x.GetSinceUnixMs(); ms != 0 {
		b.Since = time.UnixMilli(ms).UTC()
	}
	return b
}

// newLimits is nil where there are none.
func newLimits(l faas.Limits) *Limits {
	if l == (faas.Limits{}) {
		return nil
	}
	return &Limits{CpuMs: l.CPU.Milliseconds(), OutputBytes: int64(l.Output), Concurrency: int32(l.Concurrency), Rate: int32(l.Rate)}
}

func (x *Limits) limits() faas.Limits {
	return faas.Limits{
		CPU: time.Duration(x.GetCpuMs()) * time.Millisecond, Output: int(x.GetOutputBytes()), Concurrency: int(x.GetConcurrency()),
		Rate: int(x.GetRate()),
	}
}

// NewScript makes the message of a script.
func NewScript(s *faas.Script) *Script {
	return &Script{
		Digest:         string(s.Digest),
		Language:       string(s.Language),
		Source:         s.Source,
		CompileOptions: s.CompileOptions,
		Dependencies:   s.Dependencies,
	}
}

// Script is the script that the message holds. Its digest is computed, not
// believed: compare it with the one that was asked for.
func (x *Script) Script() faas.Script {
	return faas.NewScript(faas.Language(x.GetLanguage()), x.GetSource(), x.GetCompileOptions()).With(x.GetDependencies())
}

// functionOwner is how faas.Function.Owner begins; its SecretOwner follows.
const functionOwner = "function:"

// NewFunction makes the message of a function, which names its code by digest.
func NewFunction(f *faas.Function) *Function {
	return &Function{
		LanguageTitle: f.Name.Key(),
		Version:       int32(f.Version),
		Owner:         f.Owner(),
		Digest:        string(f.Script.Digest),
		TimeoutMs:     f.Timeout.Milliseconds(),
		MemoryMb:      int32(f.MemoryMB),
		Network:       string(f.Network),
		Environment:   f.Environment.JSON(), AliasEnvironment: f.AliasEnvironment.JSON(),
		Limits:  newLimits(f.Limits),
		Schema:  f.Schema,
		Weights: convertWeights[int32](f.Weights),
	}
}

func convertWeights[To, From int | int32](weights map[From]From) map[To]To {
	if len(weights) == 0 {
		return nil
	}
	converted := make(map[To]To, len(weights))
	for version, percent := range weights {
		converted[To(version)] = To(percent)
	}
	return converted
}

// Function is the function that the message describes. Of its script only the
// digest is set.
func (x *Function) Function() (faas.Function, error) {
	name, err := faas.ParseKey(x.GetLanguageTitle())
	if err != nil {
		return faas.Function{}, err
	}
	own, err := faas.ParseEnvironment(x.GetEnvironment())
	if err != nil {
		return faas.Function{}, err
	}
	alias, err := faas.ParseEnvironment(x.GetAliasEnvironment())
	if err != nil {
		return faas.Function{}, err
	}
	return faas.Function{
		Name:    name,
		Version: int(x.GetVersion()),
		UserID:  faas.UserOf(strings.TrimPrefix(x.GetOwner(), functionOwner)),
		Script:  faas.Script{Digest: faas.Digest(x.GetDigest()), Language: name.Language},
		Timeout: time.Duration(x.GetTimeoutMs()) * time.Millisecond, MemoryMB: int(x.GetMemoryMb()),
		Network: faas.Network(x.GetNetwork()), Limits: x.GetLimits().limits(),
		Schema:  x.GetSchema(),
		Weights: convertWeights[int](x.GetWeights()), Environment: own, AliasEnvironment: alias,
	}, nil
}
