{{- /* Labels that select the pods of a part: list of the root, the component and, or "", the language. */ -}}
{{- define "envoke.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: envoke
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with index . 2 }}
lambda.microservice/runtime: {{ . }}
{{- end }}
{{- end }}

{{- define "envoke.image" -}}
{{ (index . 0).Values.images.registry }}envoke-{{ index . 1 }}:{{ (index . 0).Values.images.tag | default (index . 0).Chart.AppVersion }}
{{- end }}

{{- /* What the Pod Security Standard `restricted` wants of a pod, and of a container. */ -}}
{{- define "envoke.pod" -}}
enableServiceLinks: false
securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{- define "envoke.container" -}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}

{{- define "envoke.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 1, failureThreshold: 60}
readinessProbe: {httpGet: {path: /readyz, port: metrics}, periodSeconds: 2, timeoutSeconds: 1, failureThreshold: 2}
livenessProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3}
{{- end }}

{{- /* A change of the settings begins the pods anew. */ -}}
{{- define "envoke.annotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9002"
checksum/config: {{ include "envoke.config" . | sha256sum }}
{{- end }}

{{- define "envoke.config" -}}
{{- $own := dict "control_addresses" (printf "%s-control:9010" .Release.Name) -}}
{{ toYaml (mergeOverwrite $own .Values.config) }}
{{- end }}

{{- define "envoke.strategy" -}}
{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
{{- end }}

{{- /* Mounts that all parts have, and the volumes of those that are the same for all. */ -}}
{{- define "envoke.mounts" -}}
- {name: config, mountPath: /etc/envoke/config, readOnly: true}
- {name: tls, mountPath: /etc/envoke/tls, readOnly: true}
- {name: secrets, mountPath: /etc/envoke/secrets, readOnly: true}
{{- end }}

{{- define "envoke.spread" -}}
{{- if .Values.spread }}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector: {matchLabels: {app.kubernetes.io/name: envoke}}
  matchLabelKeys: [app.kubernetes.io/instance, app.kubernetes.io/component, lambda.microservice/runtime, pod-template-hash]
{{- end }}
{{- end }}
{{- end }}

{{- /* A budget that lets one pod of a part go at a time: list as for the labels, and the name. */ -}}
{{- define "envoke.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 3 }}
  labels: &budget
    {{- include "envoke.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector: {matchLabels: *budget}
{{- end }}
