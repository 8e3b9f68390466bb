package check

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestSelectors: what names others names some, of one part.
func TestSelectors(t *testing.T) {
	for from, objects := range rendered(t) {
		all := partsOf(t, from, objects)
		for _, o := range objects {
			var selector *metav1.LabelSelector
			switch o.GetKind() {
			case "Service":
				service := into[corev1.Service](t, o)
				selector = &metav1.LabelSelector{MatchLabels: service.Spec.Selector}
				checkTargets(t, from, service, selected(t, all, selector))
			case "PodDisruptionBudget":
				selector = into[policyv1.PodDisruptionBudget](t, o).Spec.Selector
			case "Deployment":
				selector = into[appsv1.Deployment](t, o).Spec.Selector
			case "HorizontalPodAutoscaler":
				to := into[autoscalingv2.HorizontalPodAutoscaler](t, o).Spec.ScaleTargetRef
				if deployment := into[appsv1.Deployment](t, find(t, objects, to.Kind+"/"+to.Name)); deployment.Spec.Replicas != nil {
					t.Errorf("%s: %s has a number of replicas, which its autoscaler has too", from, to.Name)
				}
				continue
			default:
				continue
			}
			if names := selected(t, all, selector); len(names) != 1 {
				t.Errorf("%s: %s selects %d parts", from, name(o), len(names))
			}
		}
	}
}

func selected(t *testing.T, all []part, selector *metav1.LabelSelector) (some []part) {
	t.Helper()
	matcher, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if matcher.Matches(labels.Set(p.pod.Labels)) {
			some = append(some, p)
		}
	}
	return some
}

// checkTargets: a Service leads to ports that its pods have, and hosts are found by their labels.
func checkTargets(t *testing.T, from string, service *corev1.Service, all []part) {
	t.Helper()
	for _, p := range all {
		for _, port := range service.Spec.Ports {
			if containerPort(p, port.TargetPort) == 0 {
				t.Errorf("%s: %s leads to the port %s, which %s has not", from, service.Name, port.TargetPort.String(), p.name)
			}
		}
		if p.Args[0] == "runtime" {
			if service.Labels["app.kubernetes.io/component"] != "runtime" || service.Labels["lambda.microservice/runtime"] != p.Args[1] {
				t.Errorf("%s: the Service %s of %s is labelled %v", from, service.Name, p.Args[1], service.Labels)
			}
		}
	}
}

func containerPort(p part, at intstr.IntOrString) int32 {
	for _, port := range p.Ports {
		if at.StrVal == port.Name || at.IntVal == port.ContainerPort {
			return port.ContainerPort
		}
	}
	return 0
}

// TestNetwork: who may connect to whom, and nobody else may. Parts are named as their Deployments,
// "outside" is a pod of another namespace.
func TestNetwork(t *testing.T) {
	const outside = "outside"
	allowed := map[string]map[int32]bool{}
	for _, host := range []string{"envoke-nodejs", "envoke-python", "envoke-rust"} {
		allowed["envoke-envoy "+host] = map[int32]bool{9011: true}
		allowed["envoke-control "+host] = map[int32]bool{9011: true}
		allowed[host+" envoke-control"] = map[int32]bool{9010: true}
	}
	allowed["envoke-envoy envoke-control"] = map[int32]bool{9010: true}
	allowed[outside+" envoke-envoy"] = map[int32]bool{9000: true}
	for from, objects := range rendered(t) {
		var policies []networkingv1.NetworkPolicySpec
		for _, o := range objects {
			if o.GetKind() == "NetworkPolicy" {
				policies = append(policies, into[networkingv1.NetworkPolicy](t, o).Spec)
			}
		}
		all := append(partsOf(t, from, objects), part{name: outside})
		for _, a := range all {
			for _, b := range all {
				for _, port := range []int32{9000, 9001, 9002, 9010, 9011} {
					if a.name == b.name {
						continue
					}
					got := (a.name == outside || lets(t, policies, networkingv1.PolicyTypeEgress, a, b, port)) &&
						b.name != outside && lets(t, policies, networkingv1.PolicyTypeIngress, b, a, port)
					if want := allowed[a.name+" "+b.name][port]; got != want {
						t.Errorf("%s: from %s to port %d of %s: %v, want %v", from, a.name, port, b.name, got, want)
					}
				}
			}
		}
	}
}

// lets tells whether policies of one's own let a connection with the other pass.
func lets(t *testing.T, policies []networkingv1.NetworkPolicySpec, direction networkingv1.PolicyType, own, other part, port int32) bool {
	t.Helper()
	isolated := false
	for _, policy := range policies {
		if len(selected(t, []part{own}, &policy.PodSelector)) == 0 {
			continue
		}
		for _, d := range policy.PolicyTypes {
			isolated = isolated || d == direction
		}
		if direction == networkingv1.PolicyTypeIngress {
			for _, rule := range policy.Ingress {
				if passes(t, rule.From, rule.Ports, other, port) {
					return true
				}
			}
			continue
		}
		for _, rule := range policy.Egress {
			if passes(t, rule.To, rule.Ports, other, port) {
				return true
			}
		}
	}
	return !isolated
}

// passes goes by pods of the same namespace: blocks of addresses are public ones, and other
// namespaces are none of those that are named.
func passes(t *testing.T, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, other part, port int32) bool {
	t.Helper()
	at := len(ports) == 0
	for _, p := range ports {
		at = at || p.Port.IntVal == port
	}
	if !at || len(peers) == 0 {
		return at
	}
	for _, peer := range peers {
		if peer.PodSelector != nil && peer.NamespaceSelector == nil && other.Args != nil && len(selected(t, []part{other}, peer.PodSelector)) > 0 {
			return true
		}
	}
	return false
}
