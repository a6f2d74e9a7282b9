{{/* The ports are fixed: each pod has its own address, so nothing is gained by moving them. */}}
{{- define "callboard.ports" -}}
grpc: 50051
operations: 50052
health: 50053
{{- end }}

{{/* At most 46 characters: a StatefulSet's name goes into a label of 63 with a hash behind it. */}}
{{- define "callboard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of a part: (dict "root" $ "part" "host"). At most 63 characters. */}}
{{- define "callboard.partName" -}}
{{- printf "%s-%s" (include "callboard.fullname" .root | trunc (int (sub 62 (len .part))) | trimSuffix "-") .part }}
{{- end }}

{{/*
What never changes for the life of an object, whatever name it has: (dict "root" $ "component" "worker" "worker" "samples").
*/}}
{{- define "callboard.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .worker }}
callboard/worker: {{ . }}
{{- end }}
{{- end }}

{{- define "callboard.labels" -}}
{{ include "callboard.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: callboard
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of a pod: no version and none of commonLabels, because a pod is replaced for each that changes. */}}
{{- define "callboard.podLabels" -}}
{{ include "callboard.selectorLabels" . }}
app.kubernetes.io/part-of: callboard
{{- with .podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A reference to one of Callboard's images: (dict "root" $ "image" .Values.host.image "repository" "callboard-host"). */}}
{{- define "callboard.image" -}}
{{- $registry := .root.Values.image.registry }}
{{- if not (kindIs "invalid" .image.registry) }}
{{- $registry = .image.registry }}
{{- end }}
{{- $tag := .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- include "callboard.reference" (dict "registry" $registry "repository" (.image.repository | default .repository) "tag" $tag "digest" .image.digest) }}
{{- end }}

{{- define "callboard.reference" -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "callboard.pullPolicy" -}}
{{ .image.pullPolicy | default .root.Values.image.pullPolicy }}
{{- end }}

{{/* A worker with its defaults, as YAML: (dict "root" $ "worker" $worker). */}}
{{- define "callboard.worker" -}}
{{- include "callboard.over" (dict "base" .root.Values.workerDefaults "over" .worker) }}
{{- end }}

{{/*
One map over another, as YAML, like Helm lays values over values: maps key by key, all else replaced, null removes.
Sprig's merge would not do: it takes false, 0 and "" for absent.
*/}}
{{- define "callboard.over" -}}
{{- $result := deepCopy .base }}
{{- range $key, $value := .over }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $result $key }}
{{- else if and (kindIs "map" $value) (kindIs "map" (index $result $key)) }}
{{- $_ := set $result $key (include "callboard.over" (dict "base" (index $result $key) "over" $value) | fromYaml) }}
{{- else }}
{{- $_ := set $result $key $value }}
{{- end }}
{{- end }}
{{- toYaml $result }}
{{- end }}

{{- define "callboard.serviceAccountName" -}}
{{- .account.name | default (ternary .name "default" .account.create) }}
{{- end }}

{{/* Where workers and clients find the host. */}}
{{- define "callboard.hostAddress" -}}
{{ include "callboard.fullname" . }}:{{ (include "callboard.ports" . | fromYaml).grpc }}
{{- end }}

{{/* What every pod has that is ours, beside its containers: (dict "root" $ "account" "name"). */}}
{{- define "callboard.podBasics" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
# Else each Service of the namespace would set variables, and those of this one begin with CALLBOARD_.
enableServiceLinks: false
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a pod goes, each only when it is set. */}}
{{- define "callboard.scheduling" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $ $key }}
{{ toYaml (dict $key .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A gRPC probe: (dict "probe" .Values... "port" 50051 "service" "readiness"). An empty service is the server as a whole. */}}
{{- define "callboard.grpcProbe" -}}
grpc:
  port: {{ .port }}
  {{- with .service }}
  service: {{ . }}
  {{- end }}
{{ toYaml (omit .probe "enabled") }}
{{- end }}

{{/* Variables by name, as text or as a source; null is none. */}}
{{- define "callboard.env" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  valueFrom:
    {{- toYaml $value | nindent 4 }}
  {{- else if kindIs "string" $value }}
  value: {{ $value | quote }}
  {{- else }}
  value: {{ $value | toJson | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "callboard.logEnv" -}}
- name: CALLBOARD_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: CALLBOARD_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end }}

{{/* Where traces go; empty for nowhere. */}}
{{- define "callboard.otelEndpoint" -}}
{{- if .Values.jaeger.enabled }}
{{- printf "http://%s:4317" (include "callboard.partName" (dict "root" . "part" "jaeger")) }}
{{- else }}
{{- .Values.otel.endpoint }}
{{- end }}
{{- end }}

{{/* Variables of OpenTelemetry: (dict "root" $ "service" "callboard-host" "container" "host"). None without an endpoint. */}}
{{- define "callboard.otelEnv" -}}
{{- $otel := .root.Values.otel }}
{{- with include "callboard.otelEndpoint" .root }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- with $otel.headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $otel.headersSecret.key }}
{{- end }}
- name: OTEL_SERVICE_NAME
  value: {{ $.service }}
{{- with $otel.sampler }}
- name: OTEL_TRACES_SAMPLER
  value: {{ . }}
{{- end }}
{{- with $otel.samplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | toString | quote }}
{{- end }}
- name: K8S_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: K8S_NAMESPACE_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: K8S_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- $attributes := list
  "k8s.pod.name=$(K8S_POD_NAME)"
  "k8s.namespace.name=$(K8S_NAMESPACE_NAME)"
  "k8s.node.name=$(K8S_NODE_NAME)"
  (printf "service.instance.id=$(K8S_NAMESPACE_NAME).$(K8S_POD_NAME).%s" $.container) }}
{{- range $name, $value := $otel.resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $attributes | quote }}
{{- end }}
{{- end }}
