{{/*
Refuses what the schema cannot: rules over more than one value. Its caller is the host's manifest, which is always rendered.
All faults are told at once.
*/}}
{{- define "callboard.validate" -}}
{{- $faults := list }}

{{- if ne (int .Values.host.replicas) 1 }}
{{- $faults = append $faults (printf "host.replicas is %d: there has to be one host, because events are kept in the memory of its process and a second would not see them" (int .Values.host.replicas)) }}
{{- end }}

{{- $name := include "callboard.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $faults = append $faults (printf "the name of this release's objects would be %s, which no Service may have: set fullnameOverride to one of a-z, 0-9 and -, with a letter first" $name) }}
{{- end }}

{{- if and .Values.jaeger.enabled .Values.otel.endpoint }}
{{- $faults = append $faults (printf "jaeger.enabled and otel.endpoint (%s) both say where traces go: set one of them" .Values.otel.endpoint) }}
{{- end }}

{{- if not (include "callboard.otelEndpoint" .) }}
{{- range $key := list "sampler" "resourceAttributes" "headersSecret" }}
{{- if index $.Values.otel $key }}
{{- $faults = append $faults (printf "otel.%s is set and nothing says where traces go: set otel.endpoint or jaeger.enabled" $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- if and .Values.otel.samplerArg (not .Values.otel.sampler) }}
{{- $faults = append $faults "otel.samplerArg is set and otel.sampler is not: say whose argument it is" }}
{{- end }}

{{- if and (not .Values.host.serviceAccount.create) (not .Values.host.serviceAccount.name) }}
{{- $faults = append $faults "host.serviceAccount.create is false: name the one that is there" }}
{{- end }}

{{- $ours := list "CALLBOARD_ADDRESS" "CALLBOARD_OPERATORS_ADDRESS" "CALLBOARD_HOST" "CALLBOARD_CLIENT_ID" "CALLBOARD_CONNECT_TIMEOUT_S" "CALLBOARD_DRAIN_TIMEOUT_S" "CALLBOARD_HEALTH_ADDRESS" "CALLBOARD_LOG_LEVEL" "CALLBOARD_LOG_FORMAT" "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_HEADERS" "OTEL_SERVICE_NAME" "OTEL_TRACES_SAMPLER" "OTEL_TRACES_SAMPLER_ARG" "OTEL_RESOURCE_ATTRIBUTES" "K8S_POD_NAME" "K8S_NAMESPACE_NAME" "K8S_NODE_NAME" }}
{{- range $key, $_ := .Values.host.limits }}
{{- $ours = append $ours (printf "CALLBOARD_%s" ($key | snakecase | upper)) }}
{{- end }}
{{- $faults = concat $faults (include "callboard.tmpFaults" (dict "of" "host" "part" .Values.host) | fromYamlArray) }}
{{- range $name, $_ := .Values.host.env }}
{{- if has $name $ours }}
{{- $faults = append $faults (printf "host.env has %s, which the chart sets from other values" $name) }}
{{- end }}
{{- end }}

{{- /* What the pod is made for; as arguments they would go before its variables. */}}
{{- $options := dict
  "--host" "a worker is given the host of the release, leave it out"
  "--client-id" "it is the pod's name, leave it out"
  "--connect-timeout" "set workers.WORKER.connectTimeoutSeconds"
  "--drain-timeout" "set workers.WORKER.drainTimeoutSeconds, for which the pod is given time"
  "--health-address" "set workers.WORKER.probes, which ask there" }}
{{- range $key, $given := .Values.workers }}
{{- $worker := include "callboard.worker" (dict "root" $ "worker" $given) | fromYaml }}
{{- if $worker.enabled }}
{{- if not (concat $worker.agents $worker.args) }}
{{- $faults = append $faults (printf "workers.%s has neither agents nor args: say what it serves, for example agents: [shop.agents:setup]" $key) }}
{{- end }}
{{- if and $worker.image.repository (not $worker.image.tag) (not $worker.image.digest) (ne $worker.image.repository "callboard-worker") }}
{{- $faults = append $faults (printf "workers.%s.image.repository is %s: give it a tag or a digest, %s is Callboard's" $key $worker.image.repository ($.Values.image.tag | default $.Chart.AppVersion)) }}
{{- end }}
{{- if has $key (list "host" "hosts" "jaeger") }}
{{- $faults = append $faults (printf "workers.%s has the name of another part: choose another" $key) }}
{{- end }}
{{- if and (not $worker.serviceAccount.create) (not $worker.serviceAccount.name) }}
{{- $faults = append $faults (printf "workers.%s.serviceAccount.create is false: name the one that is there" $key) }}
{{- end }}
{{- $faults = concat $faults (include "callboard.tmpFaults" (dict "of" (printf "workers.%s" $key) "part" $worker) | fromYamlArray) }}
{{- range $option, $instead := $options }}
{{- range $worker.args }}
{{- if or (eq . $option) (hasPrefix (print $option "=") .) }}
{{- $faults = append $faults (printf "workers.%s.args has %s: %s" $key $option (replace "WORKER" $key $instead)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $_ := $worker.env }}
{{- if has $name $ours }}
{{- $faults = append $faults (printf "workers.%s.env has %s, which the chart sets from other values" $key $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- with $faults }}
{{- fail (printf "\n\n%s\n" (join "\n" .)) }}
{{- end }}
{{- end }}

{{/* What of a part's volumes meets the one that each pod has, as a list: (dict "of" "host" "part" .Values.host). */}}
{{- define "callboard.tmpFaults" -}}
{{- $faults := list }}
{{- range .part.volumes }}
{{- if eq (toString .name) "tmp" }}
{{- $faults = append $faults (printf "%s.volumes has a `tmp`, which is the name of the chart's own for /tmp: choose another" $.of) }}
{{- end }}
{{- end }}
{{- range .part.volumeMounts }}
{{- if eq (clean (toString .mountPath)) "/tmp" }}
{{- $faults = append $faults (printf "%s.volumeMounts has /tmp, where the chart mounts an emptyDir: choose another path" $.of) }}
{{- end }}
{{- end }}
{{- toYaml $faults }}
{{- end }}
