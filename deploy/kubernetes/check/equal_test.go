package check

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestChartAndOverlaysAgree: whichever way Envoke is installed, the same objects are there, but
// for the namespace, which helm --create-namespace makes.
func TestChartAndOverlaysAgree(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			want := byName(t, kustomize(t, "overlays/"+overlay))
			got := byName(t, helm(t, "values-"+overlay+".yaml"))
			delete(want, "Namespace/envoke")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the chart differs from the overlay (-overlay +chart):\n%s", diff)
			}
		})
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
