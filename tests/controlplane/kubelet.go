package main

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.dev/testplane/internal/behaviour"
)

// initTime is how long a healthy init container takes.
const initTime = 100 * time.Millisecond

// podState is what a kubelet would know of a pod beyond the API's object.
// Only the worker that holds the pod's key touches it.
type podState struct {
	uid       types.UID
	address   string
	begun     time.Time // when the kubelet first saw the pod
	init      []*behaviour.Container
	main      []*behaviour.Container
	deletedAt time.Time // when the deletion was first seen
	removed   bool      // the last delete has been sent
}

// sync brings one pod a step on and says when to look at it again.
func (p *player) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, name, _ := strings.Cut(key, "/")
	pod, err := p.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		p.mu.Lock()
		delete(p.states, key)
		delete(p.unbound, key)
		p.mu.Unlock()
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if pod.Spec.NodeName == "" {
		return 0, p.bind(ctx, pod)
	}
	node, err := p.nodes.Get(pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return 0, nil // no node, no kubelet
	}
	if err != nil {
		return 0, err
	}
	state := p.state(key, pod, node)
	now := time.Now()
	if pod.DeletionTimestamp != nil {
		if left := p.stopTime(pod, state, now); left <= 0 {
			return 0, p.remove(ctx, pod, state)
		} else if terminal(pod) {
			return left, nil
		} else {
			again, err := p.updateStatus(ctx, pod, node, state, now)
			if again == 0 || again > left {
				again = left
			}
			return again, err
		}
	}
	if terminal(pod) {
		return 0, nil
	}
	return p.updateStatus(ctx, pod, node, state, now)
}

func (p *player) updateStatus(ctx context.Context, pod *corev1.Pod, node *corev1.Node, state *podState, now time.Time) (time.Duration, error) {
	next := p.advance(pod, state, now)
	status := p.podStatus(pod, node, state, now)
	if !equality.Semantic.DeepEqual(pod.Status, status) {
		changed := pod.DeepCopy()
		changed.Status = status
		if _, err := p.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return 0, ignoreNotFound(err)
		}
		p.tell(pod, &status)
	}
	if next.IsZero() {
		return 0, nil
	}
	return max(time.Until(next), time.Millisecond), nil
}

// state finds or begins what is known of the pod.
func (p *player) state(key string, pod *corev1.Pod, node *corev1.Node) *podState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state := p.states[key]; state != nil && state.uid == pod.UID {
		return state
	}
	state := &podState{uid: pod.UID, address: pod.Status.PodIP, begun: time.Now()}
	if pod.Status.StartTime != nil {
		state.begun = pod.Status.StartTime.Time
	}
	switch {
	case pod.Spec.HostNetwork:
		state.address = nodeAddress(node)
	case state.address == "":
		state.address = p.nextAddress()
	}
	p.states[key] = state
	return state
}

// behaviourOf is a container's behaviour: the pod's annotation, or what the
// tag of its image says. The annotation speaks of the main containers, so
// that "crash" does not mean a pod that never gets past its init containers.
func behaviourOf(pod *corev1.Pod, container *corev1.Container, init bool) (behaviour.Behaviour, error) {
	if text, ok := pod.Annotations[behaviour.Annotation]; ok {
		if init {
			return behaviour.Behaviour{}, nil
		}
		return behaviour.Parse(text)
	}
	return behaviour.FromImage(container.Image), nil
}

// advance runs the pod's clockwork up to now and says when something will
// next change by itself.
func (p *player) advance(pod *corev1.Pod, state *podState, now time.Time) (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	from := state.begun
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		if i == len(state.init) {
			restart := behaviour.OnFailure
			if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
				restart = behaviour.Never
			}
			if sidecar(spec) {
				restart = behaviour.Always
			}
			state.init = append(state.init, begin(pod, spec, pod.Status.InitContainerStatuses, restart, from, true))
		}
		container := state.init[i]
		container.Behaviour, _ = behaviourOf(pod, spec, true)
		timing := p.timing
		timing.CompleteAfter = initTime
		sooner(container.Advance(now, timing))
		if sidecar(spec) {
			if container.Phase == behaviour.PullFailed || container.Phase == behaviour.PullBackOff {
				return next
			}
			if container.Phase == behaviour.Running && container.Restarts == 0 {
				from = container.Since
			}
			_, change := container.Ready(now, timing)
			sooner(change)
			continue
		}
		if container.Phase != behaviour.Done || container.Last.Code != 0 {
			return next
		}
		from = container.Last.Finished
	}
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		if i == len(state.main) {
			state.main = append(state.main, begin(pod, spec, pod.Status.ContainerStatuses,
				behaviour.Restart(pod.Spec.RestartPolicy), from, false))
		}
		container := state.main[i]
		b, err := behaviourOf(pod, spec, false)
		if err != nil {
			continue // shown by the pod's status; begins anew once corrected
		}
		container.Behaviour = b
		sooner(container.Advance(now, p.timing))
		_, change := container.Ready(now, p.timing)
		sooner(change)
	}
	return next
}

// begin makes a container's clockwork, from the status an earlier plane left
// behind if there is one.
func begin(pod *corev1.Pod, spec *corev1.Container, statuses []corev1.ContainerStatus, restart behaviour.Restart, from time.Time, init bool) *behaviour.Container {
	b, _ := behaviourOf(pod, spec, init)
	container := behaviour.NewContainer(b, restart, from)
	old := findStatus(statuses, spec.Name)
	if old == nil {
		return container
	}
	switch {
	case old.State.Running != nil:
		container.Resume(old.RestartCount, old.State.Running.StartedAt.Time, true)
	case old.State.Terminated != nil && restart != behaviour.Always:
		end := old.State.Terminated
		container.Phase, container.Since = behaviour.Done, end.FinishedAt.Time
		container.Last = &behaviour.Exit{Code: end.ExitCode, Started: end.StartedAt.Time, Finished: end.FinishedAt.Time}
		container.Restarts = old.RestartCount
	case old.RestartCount > 0:
		container.Resume(old.RestartCount, time.Now(), true)
	}
	return container
}

// stopTime is how long the pod's containers still take to stop.
func (p *player) stopTime(pod *corev1.Pod, state *podState, now time.Time) time.Duration {
	if state.deletedAt.IsZero() {
		state.deletedAt = now
	}
	var takes time.Duration
	for i := range pod.Spec.Containers {
		if b, err := behaviourOf(pod, &pod.Spec.Containers[i], false); err == nil {
			takes = max(takes, b.StopAfter)
		}
	}
	if grace := pod.DeletionGracePeriodSeconds; grace != nil {
		takes = min(takes, time.Duration(*grace)*time.Second)
	}
	return state.deletedAt.Add(takes).Sub(now)
}

// remove ends a pod whose containers have stopped. As the kubelet does it,
// the pod comes to a terminal phase first where somebody still holds on to
// it: the Job controller takes its finalizer off only then.
func (p *player) remove(ctx context.Context, pod *corev1.Pod, state *podState) error {
	if len(pod.Finalizers) > 0 && !terminal(pod) {
		ended := pod.DeepCopy()
		now := metav1.NewTime(time.Now().Truncate(time.Second))
		ended.Status.Phase = corev1.PodFailed
		for i := range ended.Status.ContainerStatuses {
			c := &ended.Status.ContainerStatuses[i]
			if running := c.State.Running; running != nil {
				c.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					ExitCode: 143, Reason: "Error", StartedAt: running.StartedAt, FinishedAt: now, ContainerID: c.ContainerID}}
				c.Ready, c.Started = false, new(bool)
			}
		}
		setCondition(&ended.Status, corev1.ContainersReady, false, "PodFailed", "")
		setCondition(&ended.Status, corev1.PodReady, false, "PodFailed", "")
		_, err := p.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, ended, metav1.UpdateOptions{})
		return ignoreNotFound(err) // the change brings the pod back here
	}
	if state.removed {
		return nil // only a finalizer is left, and not ours to take off
	}
	err := p.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64),
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		state.removed = true
		return nil
	}
	return err
}

func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func sidecar(spec *corev1.Container) bool {
	return spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func nodeAddress(node *corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}
