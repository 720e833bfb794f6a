package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.dev/testplane/internal/behaviour"
)

// podStatus is what the kubelet would report of the pod now. It starts from
// the status the pod has, so that what others wrote there stays.
func (p *player) podStatus(pod *corev1.Pod, node *corev1.Node, state *podState, now time.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.HostIP = nodeAddress(node)
	status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
	status.PodIP = state.address
	status.PodIPs = []corev1.PodIP{{IP: state.address}}
	if status.StartTime == nil {
		start := second(state.begun)
		status.StartTime = &start
	}

	old := pod.Status.InitContainerStatuses
	status.InitContainerStatuses = nil
	for i := range pod.Spec.InitContainers {
		var container *behaviour.Container
		if i < len(state.init) {
			container = state.init[i]
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses,
			p.containerStatus(pod, &pod.Spec.InitContainers[i], container, old, now, true))
	}
	old = pod.Status.ContainerStatuses
	status.ContainerStatuses = nil
	for i := range pod.Spec.Containers {
		var container *behaviour.Container
		if i < len(state.main) {
			container = state.main[i]
		}
		status.ContainerStatuses = append(status.ContainerStatuses,
			p.containerStatus(pod, &pod.Spec.Containers[i], container, old, now, false))
	}

	status.Phase = podPhase(pod, &status)
	setConditions(pod, &status, len(state.main) > 0)
	return status
}

// containerStatus is the status of one container; nil stands for one whose
// turn has not come yet.
func (p *player) containerStatus(pod *corev1.Pod, spec *corev1.Container, c *behaviour.Container, old []corev1.ContainerStatus, now time.Time, init bool) corev1.ContainerStatus {
	started := false
	status := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: &started}
	before := findStatus(old, spec.Name)
	if before != nil {
		// Resource fields and the like are not the player's to judge.
		status.AllocatedResources, status.Resources = before.AllocatedResources, before.Resources
		status.VolumeMounts, status.User = before.VolumeMounts, before.User
	}
	if c == nil {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
		return status
	}
	if _, err := behaviourOf(pod, spec, init); err != nil {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: err.Error()}
		return status
	}
	status.RestartCount = c.Restarts
	id := func(restarts int32) string {
		return fmt.Sprintf("containerd://%x", sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", pod.UID, spec.Name, restarts)))
	}
	terminated := func(restarts int32) *corev1.ContainerStateTerminated {
		reason := "Completed"
		if c.Last.Code != 0 {
			reason = "Error"
		}
		return &corev1.ContainerStateTerminated{ExitCode: c.Last.Code, Reason: reason,
			StartedAt: second(c.Last.Started), FinishedAt: second(c.Last.Finished), ContainerID: id(restarts)}
	}
	switch c.Phase {
	case behaviour.PullFailed:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ErrImagePull",
			Message: fmt.Sprintf("failed to pull and unpack image %q: not found", spec.Image)}
		return status
	case behaviour.PullBackOff:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff",
			Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: not found", spec.Image)}
		return status
	case behaviour.Running:
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: second(c.Since)}
		status.Ready, _ = c.Ready(now, p.timing)
		started = true
		if c.Last != nil {
			status.LastTerminationState.Terminated = terminated(c.Restarts - 1)
		} else if before != nil {
			status.LastTerminationState = before.LastTerminationState
		}
	case behaviour.BackOff:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				c.BackOffFor(p.timing), spec.Name, pod.Name, pod.Namespace, pod.UID)}
		status.LastTerminationState.Terminated = terminated(c.Restarts)
	case behaviour.Exited, behaviour.Done:
		status.State.Terminated = terminated(c.Restarts)
		status.Ready = init && c.Last.Code == 0 // a finished init container counts as ready
		if before != nil {
			status.LastTerminationState = before.LastTerminationState
		}
	}
	status.ContainerID = id(c.Restarts)
	name, _, _ := strings.Cut(strings.TrimSuffix(spec.Image, ":"+behaviour.Tag(spec.Image)), "@")
	status.ImageID = fmt.Sprintf("%s@sha256:%x", name, sha256.Sum256([]byte(spec.Image)))
	return status
}

func podPhase(pod *corev1.Pod, status *corev1.PodStatus) corev1.PodPhase {
	for i, c := range status.InitContainerStatuses {
		if sidecar(&pod.Spec.InitContainers[i]) {
			continue
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 && pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			return corev1.PodFailed
		}
		if c.State.Terminated == nil || c.State.Terminated.ExitCode != 0 {
			return corev1.PodPending
		}
	}
	ended, failed := 0, 0
	for _, c := range status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil && c.LastTerminationState.Terminated == nil:
			return corev1.PodPending
		case c.State.Terminated != nil && (pod.Spec.RestartPolicy == corev1.RestartPolicyNever ||
			pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && c.State.Terminated.ExitCode == 0):
			ended++
			if c.State.Terminated.ExitCode != 0 {
				failed++
			}
		}
	}
	switch {
	case ended < len(status.ContainerStatuses):
		return corev1.PodRunning
	case failed > 0:
		return corev1.PodFailed
	}
	return corev1.PodSucceeded
}

func setConditions(pod *corev1.Pod, status *corev1.PodStatus, initialized bool) {
	setCondition(status, corev1.PodReadyToStartContainers, true, "", "")
	switch {
	case status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed:
		reason := "PodCompleted"
		if status.Phase == corev1.PodFailed {
			reason = "PodFailed"
		}
		setCondition(status, corev1.PodInitialized, initialized, "", "")
		setCondition(status, corev1.ContainersReady, false, reason, "")
		setCondition(status, corev1.PodReady, false, reason, "")
		return
	case initialized:
		setCondition(status, corev1.PodInitialized, true, "", "")
	default:
		setCondition(status, corev1.PodInitialized, false, "ContainersNotInitialized",
			"containers with incomplete status: "+unready(status.InitContainerStatuses))
	}
	if names := unready(slices.Concat(status.InitContainerStatuses, status.ContainerStatuses)); names != "" {
		message := "containers with unready status: " + names
		setCondition(status, corev1.ContainersReady, false, "ContainersNotReady", message)
		setCondition(status, corev1.PodReady, false, "ContainersNotReady", message)
		return
	}
	setCondition(status, corev1.ContainersReady, true, "", "")
	for _, gate := range pod.Spec.ReadinessGates {
		if c := findCondition(status, gate.ConditionType); c == nil || c.Status != corev1.ConditionTrue {
			setCondition(status, corev1.PodReady, false, "ReadinessGatesNotReady",
				fmt.Sprintf("corresponding condition of pod readiness gate %q is not \"True\".", gate.ConditionType))
			return
		}
	}
	setCondition(status, corev1.PodReady, true, "", "")
}

func unready(statuses []corev1.ContainerStatus) string {
	var names []string
	for _, c := range statuses {
		if !c.Ready {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "[" + strings.Join(names, " ") + "]"
}

// setCondition sets a condition and says whether that changed anything; the
// time of the last transition moves only with the condition's status.
func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value bool, reason, message string) bool {
	want := corev1.ConditionFalse
	if value {
		want = corev1.ConditionTrue
	}
	c := findCondition(status, kind)
	if c == nil {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind})
		c = &status.Conditions[len(status.Conditions)-1]
	} else if c.Status == want && c.Reason == reason && c.Message == message {
		return false
	}
	if c.Status != want {
		c.Status, c.LastTransitionTime = want, second(time.Now())
	}
	c.Reason, c.Message = reason, message
	return true
}

func findCondition(status *corev1.PodStatus, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

func findStatus(statuses []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range statuses {
		if statuses[i].Name == name {
			return &statuses[i]
		}
	}
	return nil
}

// tell records the events a kubelet would for what has just gone wrong.
func (p *player) tell(pod *corev1.Pod, status *corev1.PodStatus) {
	before := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, c := range slices.Concat(status.InitContainerStatuses, status.ContainerStatuses) {
		waiting := c.State.Waiting
		old := findStatus(before, c.Name)
		if waiting == nil || old != nil && old.State.Waiting != nil && old.State.Waiting.Reason == waiting.Reason {
			continue
		}
		switch waiting.Reason {
		case "CrashLoopBackOff":
			p.kubelet.Event(pod, corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+c.Name)
		case "ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError":
			p.kubelet.Event(pod, corev1.EventTypeWarning, "Failed", "Error: "+waiting.Reason+": "+waiting.Message)
		}
	}
}

// second is a time as the API keeps it; comparing would find finer ones
// different from what comes back.
func second(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
