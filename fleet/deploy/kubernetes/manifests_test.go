// Package kubernetes has manifests of a fleet.
package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// newObject returns an object of a kind. The manifests have no others.
func newObject(t *testing.T, kind metav1.TypeMeta) any {
	switch kind {
	case metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}:
		return &corev1.Service{}
	case metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}:
		return &appsv1.StatefulSet{}
	case metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}:
		return &appsv1.Deployment{}
	case metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}:
		return &policyv1.PodDisruptionBudget{}
	}
	t.Fatalf("%v is unexpected", kind)
	return nil
}

// decode returns the objects of a file. A field that Kubernetes does not know fails the test.
func decode(t *testing.T, file string) (objects []any) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for part := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal(part, &kind), file)
		object := newObject(t, kind)
		require.NoError(t, yaml.UnmarshalStrict(part, object), file)
		objects = append(objects, object)
	}
	return objects
}

// find returns the one object of a type.
func find[T any](t *testing.T, objects []any) (found T) {
	count := 0
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			found = typed
			count++
		}
	}
	require.Equal(t, 1, count)
	return found
}

// TestNodes checks what keeps the nodes' shells and their registry.
func TestNodes(t *testing.T) {
	objects := decode(t, "nodes.yaml")
	set, service := find[*appsv1.StatefulSet](t, objects), find[*corev1.Service](t, objects)
	budget := find[*policyv1.PodDisruptionBudget](t, objects)
	labels := set.Spec.Template.Labels
	require.Equal(t, labels, set.Spec.Selector.MatchLabels)
	require.Equal(t, labels, budget.Spec.Selector.MatchLabels)
	require.Equal(t, labels, service.Spec.Selector)
	require.Equal(t, corev1.ClusterIPNone, service.Spec.ClusterIP)
	require.True(t, service.Spec.PublishNotReadyAddresses)
	require.Equal(t, service.Name, set.Spec.ServiceName)
	require.Equal(t, 1, budget.Spec.MaxUnavailable.IntValue())
	require.Equal(t, appsv1.ParallelPodManagement, set.Spec.PodManagementPolicy)
	require.Equal(t, appsv1.OnDeleteStatefulSetStrategyType, set.Spec.UpdateStrategy.Type)
	pod := set.Spec.Template.Spec
	require.GreaterOrEqual(t, *pod.TerminationGracePeriodSeconds, int64(3600))
	preStop := pod.Containers[0].Lifecycle.PreStop.Exec.Command
	require.Contains(t, strings.Join(preStop, " "), "wsepd drain --dir="+flag(pod, "--dir"))
	requireMounts(t, pod, set.Spec.VolumeClaimTemplates...)
	requirePeers(t, pod, set, service)
}

// TestGateways checks that there is always a gateway.
func TestGateways(t *testing.T) {
	objects := decode(t, "gateways.yaml")
	deployment, service := find[*appsv1.Deployment](t, objects), find[*corev1.Service](t, objects)
	budget := find[*policyv1.PodDisruptionBudget](t, objects)
	labels := deployment.Spec.Template.Labels
	require.Equal(t, labels, deployment.Spec.Selector.MatchLabels)
	require.Equal(t, labels, budget.Spec.Selector.MatchLabels)
	require.Equal(t, labels, service.Spec.Selector)
	require.Zero(t, deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	pod := deployment.Spec.Template.Spec
	requireMounts(t, pod)
	nodes := decode(t, "nodes.yaml")
	requirePeers(t, pod, find[*appsv1.StatefulSet](t, nodes), find[*corev1.Service](t, nodes))
}

// requirePeers checks that the peers are the first pods of the set, at the service's names and port.
func requirePeers(t *testing.T, pod corev1.PodSpec, set *appsv1.StatefulSet, service *corev1.Service) {
	t.Helper()
	var want []string
	for _, ordinal := range []string{"0", "1", "2"} {
		name := set.Name + "-" + ordinal
		want = append(want, name+"="+name+"."+service.Name+":7000")
	}
	require.Equal(t, strings.Join(want, ","), flag(pod, "--peers"))
	require.EqualValues(t, 3, *set.Spec.Replicas)
	for i, port := range []int32{7000, 7001, 7002} {
		require.Equal(t, port, service.Spec.Ports[i].Port)
	}
}

// requireMounts checks that all that is mounted is there, and that the directories of the flags are mounted.
func requireMounts(t *testing.T, pod corev1.PodSpec, claims ...corev1.PersistentVolumeClaim) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range claims {
		volumes[c.Name] = true
	}
	paths := map[string]bool{}
	for _, m := range pod.Containers[0].VolumeMounts {
		require.True(t, volumes[m.Name], m.Name)
		paths[m.MountPath] = true
	}
	require.True(t, paths[filepath.Dir(flag(pod, "--dir"))])
	require.True(t, paths[flag(pod, "--trust")])
}

// flag returns the value of a flag.
func flag(pod corev1.PodSpec, name string) string {
	for _, arg := range pod.Containers[0].Args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	return ""
}

// build builds wsepd as the Dockerfile does.
func build(t *testing.T) (wsepd string) {
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^RUN (.*go build .*) -o (\S+) (.*)$`).FindStringSubmatch(string(text))
	require.NotNil(t, line)
	wsepd = filepath.Join(t.TempDir(), "wsepd")
	cmd := exec.Command("sh", "-c", line[1]+" -o "+wsepd+" "+line[3])
	cmd.Dir = "../../.."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(text), "COPY --from=build "+line[2]+" /usr/local/bin/wsepd\n")
	for _, pod := range []corev1.PodSpec{nodePod(t), gatewayPod(t)} {
		user := fmt.Sprintf("USER %d:%d\n", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup)
		require.Contains(t, string(text), user)
		require.Equal(t, []string{"wsepd"}, pod.Containers[0].Command)
	}
	return wsepd
}

func nodePod(t *testing.T) corev1.PodSpec {
	return find[*appsv1.StatefulSet](t, decode(t, "nodes.yaml")).Spec.Template.Spec
}

func gatewayPod(t *testing.T) corev1.PodSpec {
	return find[*appsv1.Deployment](t, decode(t, "gateways.yaml")).Spec.Template.Spec
}

// TestImage has the image's wsepd read the arguments of each manifest. The image itself is not built.
func TestImage(t *testing.T) {
	wsepd := build(t)
	check := func(args ...string) {
		out, err := exec.Command(wsepd, append(args, "--help")...).CombinedOutput() // Flags are read before the help is printed.
		require.NoError(t, err, "%s", out)
	}
	check(nodePod(t).Containers[0].Args...)
	check(gatewayPod(t).Containers[0].Args...)
	check("drain", "--dir=/var/lib/wsepd/node", "wsep-node-0")
	require.Error(t, exec.Command(wsepd, "--no-such-flag", "--help").Run())
}
