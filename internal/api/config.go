package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/internal/strict"
)

// ConfigReader finds versions of the routes that are declared by the API.
type ConfigReader interface {
	CurrentConfig(context.Context) (faas.Config, error)
	FindConfig(ctx context.Context, version int) (faas.Config, error)
	ListConfigs(context.Context) ([]faas.Config, error)
}

// ConfigWriter puts versions. What is expected is the version that is current before.
type ConfigWriter interface {
	PutConfig(ctx context.Context, by faas.Actor, c faas.Config, expected int) (faas.Config, error)
	SetCurrentConfig(ctx context.Context, by faas.Actor, version, expected int) error
}

// Routes is what becomes of declared routes.
type Routes interface {
	// ConfigChanged returns when this control has taken the current version of the config.
	ConfigChanged(context.Context)
	Standing() routing.Standing
}

// configVersion is a version without its document.
type configVersion struct {
	Version   int         `json:"version"`
	Digest    faas.Digest `json:"digest"`
	Bytes     int         `json:"bytes"`
	CreatedAt time.Time   `json:"created_at"`
	CreatedBy *string     `json:"created_by"`
	IsCurrent bool        `json:"is_current"`
}

type configDocument struct {
	configVersion

	Document string `json:"document"`
}

func (configDocument) private() {}

type configVersions struct {
	Versions []configVersion `json:"versions"`
}

// configShown is the current version, and what has become of it and of other sources.
type configShown struct {
	Version  int     `json:"version"` // 0: none was ever put
	Document *string `json:"document"`
	// Taken is the version that this control has taken; another one says so a moment later.
	Taken   int                    `json:"taken_version"`
	Status  routing.State          `json:"status"`
	Message *string                `json:"message"`
	Sources []routing.SourceStatus `json:"sources"`
}

func (configShown) private() {}

// configPut is what was put, or would be.
type configPut struct {
	Version int              `json:"version"`
	DryRun  bool             `json:"dry_run"`
	Changes []routing.Change `json:"changes"`
}

func (configPut) private() {}

// errOthersConfig is the answer to administrators of single namespaces.
var errOthersConfig = &faas.Error{Code: faas.Forbidden, Message: "the config is that of the whole installation: only administrators of the default namespace see and change it"}

// errOpenConfig is the answer where anybody could be sent anywhere.
var errOpenConfig = &faas.Error{Code: faas.Forbidden, Message: "this installation does not check who calls, and others than this machine can: whoever puts a config could have Envoy reach any address. Start it with AUTH, or declare routes by ROUTES_FILE"}

// mayConfigure tells whether the caller may see the config, or change it.
func (a *api) mayConfigure(r *http.Request, change bool) error {
	if a.Auth && !a.callerOf(r).Administers("") {
		return errOthersConfig
	}
	if change && a.Exposed {
		return errOpenConfig
	}
	return nil
}

// showConfig shows the current version, and what has become of it.
func (a *api) showConfig(r *http.Request) (int, any, error) {
	if _, err := a.configQuery(r, false); err != nil {
		return 0, nil, err
	}
	current, err := a.currentConfig(r.Context())
	if err != nil {
		return 0, nil, err
	}
	standing := a.Routes.Standing()
	shown := configShown{
		Version: current.Version, Taken: standing.Version,
		Status: standing.State, Message: orNull(standing.Message), Sources: standing.Sources,
	}
	if current.Version != 0 {
		shown.Document = &current.Document
	}
	if current.Version != standing.Version && shown.Status == routing.Live {
		shown.Status = routing.Pending
	}
	return http.StatusOK, shown, nil
}

// currentConfig is the current version, or the zero Config where none was ever put.
func (a *api) currentConfig(ctx context.Context) (faas.Config, error) {
	current, err := a.Store.CurrentConfig(ctx)
	if faas.IsNotFound(err) {
		return faas.Config{}, nil
	}
	return current, err
}

// putConfig makes the body the current version, unless it has faults.
func (a *api) putConfig(r *http.Request) (int, any, error) {
	q, err := a.configQuery(r, true, "dry_run", "expected_version")
	if err != nil {
		return 0, nil, err
	}
	raw, err := readRaw(r, routing.MaxDocument)
	if err != nil {
		return 0, nil, err
	}
	next, faults := routing.ParseAll(routing.Checks{Files: true}, routing.Text{Raw: raw})
	if len(faults) > 0 {
		return 0, nil, faultyConfig(faults)
	}
	current, err := a.currentConfig(r.Context())
	if err != nil {
		return 0, nil, err
	}
	if q.expected != faas.AnyConfig && q.expected != current.Version {
		return 0, nil, faas.ErrOtherConfig(current.Version, q.expected)
	}
	put := configPut{Version: current.Version, DryRun: q.dryRun, Changes: routing.Diff(declaredBy(current), next)}
	if q.dryRun || current.Version != 0 && string(raw) == current.Document {
		return http.StatusOK, put, nil
	}
	stored, err := a.Store.PutConfig(r.Context(), a.actorOf(r), faas.NewConfig(string(raw), userOf(r)), q.expected)
	if err != nil {
		return 0, nil, err
	}
	put.Version = stored.Version
	a.Routes.ConfigChanged(r.Context())
	return http.StatusOK, put, nil
}

// declaredBy is what a version declares. One that has faults by now, as an older Envoke may have
// taken it, is shown as far as it can be read.
func declaredBy(c faas.Config) routing.Routing {
	if c.Version == 0 {
		return routing.Routing{}
	}
	declared, _ := routing.Parse("", []byte(c.Document))
	return declared.Routing
}

func faultyConfig(faults routing.Faults) error {
	message := "the config has a fault, so that nothing of it is taken: "
	if len(faults) > 1 {
		message = fmt.Sprintf("the config has faults (%d), so that nothing of it is taken; the first: ", len(faults))
	}
	return &faas.Error{
		Code: faas.InvalidRequest, Message: message + faults[0].Error(),
		Details: map[string]any{"faults": faults},
	}
}

func (a *api) listConfigs(r *http.Request) (int, any, error) {
	if _, err := a.configQuery(r, false); err != nil {
		return 0, nil, err
	}
	found, err := a.Store.ListConfigs(r.Context())
	if err != nil {
		return 0, nil, err
	}
	list := configVersions{Versions: make([]configVersion, len(found))}
	for i, c := range found {
		list.Versions[i] = showVersion(&c)
	}
	return http.StatusOK, list, nil
}

func showVersion(c *faas.Config) configVersion {
	return configVersion{
		Version: c.Version, Digest: c.Digest, Bytes: c.Bytes, CreatedAt: c.CreatedAt.UTC(), CreatedBy: orNull(c.CreatedBy), IsCurrent: c.Current,
	}
}

func (a *api) showConfigVersion(r *http.Request) (int, any, error) {
	if _, err := a.configQuery(r, false); err != nil {
		return 0, nil, err
	}
	version, err := strconv.Atoi(r.PathValue("version"))
	if err != nil || version < 1 || version > faas.MaxVersion {
		return 0, nil, &faas.Error{Code: faas.InvalidRequest, Message: fmt.Sprintf("the path ends with no version: a whole number from 1 to %d", faas.MaxVersion)}
	}
	c, err := a.Store.FindConfig(r.Context(), version)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, configDocument{showVersion(&c), c.Document}, nil
}

// rollbackConfig makes an earlier version the current one, whose number it keeps.
func (a *api) rollbackConfig(r *http.Request) (int, any, error) {
	q, err := a.configQuery(r, true, "expected_version")
	if err != nil {
		return 0, nil, err
	}
	var body struct {
		Version *int `json:"version"`
	}
	if err := readBody(r, smallBody, &body); err != nil {
		return 0, nil, err
	}
	if err := checkVersion("version", body.Version); err != nil {
		return 0, nil, err
	}
	c, err := a.Store.FindConfig(r.Context(), *body.Version)
	if err != nil {
		return 0, nil, err
	}
	next, faults := routing.ParseAll(routing.Checks{Files: true}, routing.Text{Raw: []byte(c.Document)})
	if len(faults) > 0 {
		return 0, nil, faultyConfig(faults)
	}
	current, err := a.currentConfig(r.Context())
	if err != nil {
		return 0, nil, err
	}
	if err := a.Store.SetCurrentConfig(r.Context(), a.actorOf(r), c.Version, q.expected); err != nil {
		return 0, nil, err
	}
	a.Routes.ConfigChanged(r.Context())
	return http.StatusOK, configPut{Version: c.Version, Changes: routing.Diff(declaredBy(current), next)}, nil
}

// configQuery is what the query and the headers of a request say.
type configQuery struct {
	dryRun   bool
	expected int
}

// configQuery reads the query of who may do that, which knows those parameters.
func (a *api) configQuery(r *http.Request, change bool, known ...string) (q configQuery, err error) {
	if err := a.mayConfigure(r, change); err != nil {
		return q, err
	}
	p, err := parseParameters(r.URL.RawQuery)
	if err != nil {
		return q, err
	}
	p.only(known...)
	q.dryRun = oneOf(&p, "dry_run", "true", "false") == "true"
	q.expected = faas.AnyConfig
	if text, ok := p.get("expected_version"); ok {
		if q.expected, err = strconv.Atoi(text); err != nil || q.expected < 0 || q.expected > faas.MaxVersion {
			p.fail("expected_version", fmt.Sprintf("must be a whole number from 0 to %d", faas.MaxVersion))
		}
	}
	if p.err != nil || !change {
		return q, p.err
	}
	return q, q.match(r.Header.Get("If-Match"))
}

// match reads the header of that name: the number of a version, in quotes or without, or *.
func (q *configQuery) match(header string) error {
	if header == "" || header == "*" {
		return nil
	}
	version, err := strconv.Atoi(strings.Trim(header, `"`))
	switch {
	case err != nil || version < 0 || version > faas.MaxVersion:
		return strict.BadMember("the header If-Match", "must be the number of a version, as GET has it")
	case q.expected != faas.AnyConfig && q.expected != version:
		return strict.BadMember("the header If-Match", "is of another version than the parameter expected_version")
	}
	q.expected = version
	return nil
}
