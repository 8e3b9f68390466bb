package check

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"envoke/internal/testrig"
)

// TestChartAndOverlaysAgree: whichever way Envoke is installed, the same objects are there, but
// for the namespace, which helm --create-namespace makes.
func TestChartAndOverlaysAgree(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			want := byName(t, kustomize(t, "overlays/"+overlay))
			got := byName(t, helm(t, "values-"+overlay+".yaml", nil))
			delete(want, "Namespace/envoke")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the chart differs from the overlay (-overlay +chart):\n%s", diff)
			}
		})
	}
}

// TestRuby: who wants Ruby gets the same by a component of kustomize and by values of the chart,
// which without others are the kustomize base.
func TestRuby(t *testing.T) {
	dir := testrig.Dir(t)
	base, err := filepath.Abs(here)
	if err != nil {
		t.Fatal(err)
	}
	to, err := filepath.Rel(dir, base)
	if err != nil {
		t.Fatal(err)
	}
	from, err := filepath.Rel(base, dir)
	if err != nil {
		t.Fatal(err)
	}
	var overlay strings.Builder
	fmt.Fprintf(&overlay, "namespace: envoke\nresources: [%s/base]\ncomponents: [%[1]s/components/ruby]\nimages:\n", to)
	for _, image := range []string{"control", "envoy", "nodejs", "python", "rust", "ruby"} {
		fmt.Fprintf(&overlay, "- {name: envoke-%s, newTag: 0.1.0}\n", image)
	}
	write(t, filepath.Join(dir, "kustomization.yaml"), overlay.String())
	want := byName(t, kustomize(t, from))
	got := byName(t, helm(t, "", map[string]any{"languages": map[string]any{"ruby": map[string]any{}}}))
	delete(want, "Namespace/envoke")
	if diff := cmp.Diff(want, got); diff != "" || want["Deployment/envoke-ruby"] == nil {
		t.Errorf("the chart differs from the component (-component +chart):\n%s", diff)
	}
}

// digest is what kustomize adds to a ConfigMap's name.
var digest = regexp.MustCompile(`envoke-config-[a-z0-9]{10}\b`)

// byName has each object as text, less what the two ways of installing must each have of their
// own: a digest in a name, a checksum, the annotations of hooks, the namespace that Helm gives.
func byName(t *testing.T, objects []*object) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, o := range objects {
		annotations := o.GetAnnotations()
		for key := range annotations {
			if regexp.MustCompile(`^helm\.sh/`).MatchString(key) {
				delete(annotations, key)
			}
		}
		if o.SetAnnotations(annotations); len(annotations) == 0 {
			o.SetAnnotations(nil)
		}
		if config, ok, _ := unstructured.NestedString(o.Object, "data", "envoke.yaml"); ok {
			o.Object["data"] = settings(t, config)
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
		raw, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text := digest.ReplaceAllString(string(raw), "envoke-config")
		text = regexp.MustCompile(`(?m)^ +checksum/config: .*\n`).ReplaceAllString(text, "")
		content := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &content); err != nil {
			t.Fatal(err)
		}
		key := digest.ReplaceAllString(name(o), "envoke-config")
		if _, twice := all[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		all[key] = content
	}
	return all
}

// settings are those of an envoke.yaml, whose comments and order mean nothing.
func settings(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
