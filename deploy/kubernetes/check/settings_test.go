package check

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// part is a container with what is said of it elsewhere.
type part struct {
	from string // where it was rendered from
	name string
	pod  corev1.PodTemplateSpec
	corev1.Container
	config map[string]any // its envoke.yaml; nil: it has none
}

// parts are all containers.
func parts(t *testing.T) (all []part) {
	t.Helper()
	for from, objects := range rendered(t) {
		all = append(all, partsOf(t, from, objects)...)
	}
	if len(all) < 20 {
		t.Fatalf("there are %d containers in all", len(all))
	}
	return all
}

func partsOf(t *testing.T, from string, objects []*object) (all []part) {
	t.Helper()
	for _, o := range pods(t, objects) {
		pod := into[corev1.Pod](t, o)
		p := part{from: from, name: strings.TrimSuffix(pod.Name, "-0"), pod: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, Container: pod.Spec.Containers[0]}
		for _, volume := range pod.Spec.Volumes {
			if volume.ConfigMap != nil {
				data := into[corev1.ConfigMap](t, find(t, objects, "ConfigMap/"+volume.ConfigMap.Name)).Data
				p.config = settings(t, data["envoke.yaml"])
			}
		}
		all = append(all, p)
	}
	return all
}

// number is a setting, or its default.
func (p part) number(t *testing.T, name string) int64 {
	t.Helper()
	value, ok := p.config[name]
	if !ok {
		value = settings(t, readFile(t, root+"/docs/envoke.example.yaml"))[name]
	}
	number, ok := value.(float64)
	if !ok {
		t.Fatalf("%s is %v", name, value)
	}
	return int64(number)
}

// TestSettings: each key of a ConfigMap is a setting, each variable one that means something to
// the command, and the command is one.
func TestSettings(t *testing.T) {
	known := settings(t, readFile(t, root+"/docs/envoke.example.yaml"))
	for _, p := range parts(t) {
		for key := range p.config {
			if _, ok := known[key]; !ok {
				t.Errorf("%s: %s: no setting is called %s", p.from, p.name, key)
			}
		}
		flags := help(t, p.Args...)
		for _, variable := range p.Env {
			flag := "--" + strings.ReplaceAll(strings.ToLower(variable.Name), "_", "-")
			whole, file := strings.Contains(flags, flag+" "), strings.Contains(flags, strings.TrimSuffix(flag, "-file")+" ")
			if variable.Name != "POD_IP" && !whole && !file {
				t.Errorf("%s: %s: %s means nothing to envoke %s", p.from, p.name, variable.Name, strings.Join(p.Args, " "))
			}
			if variable.Value == "" && variable.ValueFrom == nil {
				t.Errorf("%s: %s: %s is empty", p.from, p.name, variable.Name)
			}
		}
	}
}

// TestFiles: each file and folder that a part's settings name is mounted, each mount is named, and
// what a part writes is no Secret's.
func TestFiles(t *testing.T) {
	for _, p := range parts(t) {
		flags := help(t, p.Args...)
		values := map[string]string{"tmp": "/tmp", "--config": "/etc/envoke/config/envoke.yaml"}
		if p.config == nil { // the job
			delete(values, "tmp")
			delete(values, "--config")
		}
		for key, value := range p.config {
			text, ok := value.(string)
			if flag := "--" + strings.ReplaceAll(key, "_", "-") + " "; ok && strings.HasPrefix(text, "/") && strings.Contains(flags, flag) {
				values[key] = text
			}
		}
		for _, variable := range p.Env {
			if strings.HasPrefix(variable.Value, "/") && variable.Name != "ENVOY" {
				values[variable.Name] = variable.Value
			}
		}
		used := map[string]bool{}
		for key, value := range values {
			at := slices.IndexFunc(p.VolumeMounts, func(m corev1.VolumeMount) bool {
				return value == m.MountPath || strings.HasPrefix(value, m.MountPath+"/")
			})
			if at < 0 {
				t.Errorf("%s: %s: %s is %s, which is not mounted", p.from, p.name, key, value)
				continue
			}
			mount := p.VolumeMounts[at]
			used[mount.Name] = true
			checkFile(t, p, mount, value)
		}
		for _, mount := range p.VolumeMounts {
			if !used[mount.Name] {
				t.Errorf("%s: %s mounts %s, and no setting names it", p.from, p.name, mount.MountPath)
			}
		}
		if len(p.pod.Spec.Volumes) != len(p.VolumeMounts) {
			t.Errorf("%s: %s has %d volumes and mounts %d", p.from, p.name, len(p.pod.Spec.Volumes), len(p.VolumeMounts))
		}
	}
}

// checkFile: what is read is read-only, has that file, and cannot be read by others; what is
// written is an empty folder with a bound.
func checkFile(t *testing.T, p part, mount corev1.VolumeMount, value string) {
	t.Helper()
	volume := p.pod.Spec.Volumes[slices.IndexFunc(p.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })]
	switch {
	case volume.EmptyDir != nil:
		if volume.EmptyDir.SizeLimit == nil || mount.ReadOnly {
			t.Errorf("%s: %s: the folder %s has no bound, or is read-only", p.from, p.name, mount.Name)
		}
	case !mount.ReadOnly:
		t.Errorf("%s: %s: %s can be written", p.from, p.name, mount.MountPath)
	case volume.Secret != nil:
		if volume.Secret.DefaultMode == nil || *volume.Secret.DefaultMode != 0o440 {
			t.Errorf("%s: %s: the files of %s are open to others", p.from, p.name, mount.Name)
		}
		items := volume.Secret.Items
		if len(items) > 0 && !slices.ContainsFunc(items, func(i corev1.KeyToPath) bool { return i.Path == filepath.Base(value) }) {
			t.Errorf("%s: %s: the Secret's volume has no %s", p.from, p.name, value)
		}
		if documented := readFile(t, root+"/docs/deploy-kubernetes.md"); !strings.Contains(documented, volume.Secret.SecretName) {
			t.Errorf("the document does not say how the Secret %s is made", volume.Secret.SecretName)
		} else {
			for _, item := range items {
				if !strings.Contains(documented, "--from-file="+item.Key) {
					t.Errorf("the document does not say how the key %s is made", item.Key)
				}
			}
		}
	}
}

// TestTimesAndSizes: pods are let live as long as their parts take to stop, and folders are as
// large as settings let them become.
func TestTimesAndSizes(t *testing.T) {
	for _, p := range parts(t) {
		if p.config == nil {
			continue
		}
		var stops int64
		switch p.Args[0] {
		case "control":
			stops = p.number(t, "runtime_timeout_seconds")
		case "envoy":
			stops = p.Lifecycle.PreStop.Sleep.Seconds + p.number(t, "drain_timeout_seconds")
			folder(t, p, "data", p.number(t, "log_waiting_mb")+2*64)
		case "runtime":
			stops = p.number(t, "host_drain_seconds") + p.number(t, "runtime_timeout_seconds") + 1
			folder(t, p, "tmp", p.number(t, "max_workers")*p.number(t, "worker_scratch_mb"))
		}
		if grace := *p.pod.Spec.TerminationGracePeriodSeconds; grace < stops+5 || grace > stops+30 {
			t.Errorf("%s: %s takes %d s to stop, and has %d", p.from, p.name, stops, grace)
		}
		var disk int64
		for _, volume := range p.pod.Spec.Volumes {
			if volume.EmptyDir != nil && volume.EmptyDir.Medium == "" {
				disk += volume.EmptyDir.SizeLimit.Value()
			}
		}
		if limit := p.Resources.Limits.StorageEphemeral().Value(); limit < disk {
			t.Errorf("%s: %s may write %d bytes to its folders, and %d in all", p.from, p.name, disk, limit)
		}
		for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			if _, ok := p.Resources.Requests[resource]; !ok {
				t.Errorf("%s: %s asks for no %s", p.from, p.name, resource)
			}
		}
		if p.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: %s has no limit of memory", p.from, p.name)
		}
	}
}

func folder(t *testing.T, p part, name string, mebibytes int64) {
	t.Helper()
	at := slices.IndexFunc(p.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if size := p.pod.Spec.Volumes[at].EmptyDir.SizeLimit.Value(); size < mebibytes<<20 {
		t.Errorf("%s: %s may write %d MiB to %s, which has room for %d bytes", p.from, p.name, mebibytes, name, size)
	}
}

// TestPorts: what is listened on, what containers name and what probes ask is the same.
func TestPorts(t *testing.T) {
	listens := map[string][]string{
		"control": {"control_listen", "metrics_listen"}, "envoy": {"port", "metrics_listen"}, "runtime": {"host_listen", "metrics_listen"},
	}
	for _, p := range parts(t) {
		if p.config == nil {
			continue
		}
		var want, got []string
		for _, setting := range listens[p.Args[0]] {
			address, ok := p.config[setting].(string)
			if !ok {
				address = strconv.FormatInt(p.number(t, setting), 10)
			}
			want = append(want, address[strings.LastIndex(address, ":")+1:])
		}
		for _, port := range p.Ports {
			got = append(got, strconv.Itoa(int(port.ContainerPort)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s listens on %v, and has the ports %v", p.from, p.name, want, got)
		}
		for probe, path := range map[*corev1.Probe]string{p.StartupProbe: "/healthz", p.LivenessProbe: "/healthz", p.ReadinessProbe: "/readyz"} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "metrics" {
				t.Errorf("%s: %s has the probe %v, want %s at metrics", p.from, p.name, probe, path)
			}
		}
	}
}
