package check

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../../.."
	here  = ".."
	chart = here + "/chart"
)

// overlays are what is rendered, each with the chart's values that say the same.
var overlays = []string{"dev", "prod"}

type object = unstructured.Unstructured

// name of an object, for messages and to find it.
func name(o *object) string { return o.GetKind() + "/" + o.GetName() }

// kustomize renders a folder.
func kustomize(t *testing.T, dir string) []*object {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(here, dir))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rendered.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(raw))
}

// helm renders the chart as `helm install envoke --namespace envoke` would, its hooks and CRDs
// included, with a file of values, or with those that are given.
func helm(t *testing.T, values string, given map[string]any) []*object {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	if values != "" {
		if given, err = chartutil.ReadValuesFile(filepath.Join(chart, values)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: "envoke", Namespace: "envoke", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*object
	for _, crd := range loaded.CRDObjects() {
		objects = append(objects, parse(t, string(crd.File.Data))...)
	}
	for path, text := range files {
		if filepath.Ext(path) == ".yaml" {
			objects = append(objects, parse(t, text)...)
		}
	}
	return objects
}

var between = regexp.MustCompile(`(?m)^---\s*$`)

// parse reads objects. A key that is there twice is a fault.
func parse(t *testing.T, text string) (objects []*object) {
	t.Helper()
	for _, one := range between.Split(text, -1) {
		content := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(one), &content); err != nil {
			t.Fatalf("%v in\n%s", err, one)
		}
		if len(content) > 0 {
			raw := &object{Object: content}
			raw.Object = runtime.DeepCopyJSON(integers(content).(map[string]any))
			objects = append(objects, raw)
		}
	}
	return objects
}

// integers makes whole numbers what Kubernetes' libraries expect.
func integers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = integers(inner)
		}
	case []any:
		for n, inner := range value {
			value[n] = integers(inner)
		}
	case float64:
		if whole := int64(value); float64(whole) == value {
			return whole
		}
	}
	return value
}

// rendered are all objects of each overlay and of the chart.
func rendered(t *testing.T) map[string][]*object {
	t.Helper()
	all := map[string][]*object{}
	for _, overlay := range overlays {
		all["overlays/"+overlay] = kustomize(t, "overlays/"+overlay)
		all["chart, "+overlay] = helm(t, "values-"+overlay+".yaml", nil)
	}
	return all
}

func find(t *testing.T, objects []*object, wanted string) *object {
	t.Helper()
	at := slices.IndexFunc(objects, func(o *object) bool { return name(o) == wanted })
	if at < 0 {
		t.Fatalf("there is no %s", wanted)
	}
	return objects[at]
}

// into converts an object to the type that the API has for it.
func into[T any](t *testing.T, o *object) *T {
	t.Helper()
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
		t.Fatalf("%s: %v", name(o), err)
	}
	return typed
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
