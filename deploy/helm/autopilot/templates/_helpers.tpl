{{/* Labels of an object: list $ COMPONENT BELONGS, where BELONGS is a dict of the cell or PoP, or empty. */}}
{{- define "autopilot.labels" -}}
{{- include "autopilot.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end }}

{{/* Labels of its pods, and what selects them. */}}
{{- define "autopilot.selector" -}}
app.kubernetes.io/name: autopilot
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- range $key, $name := index . 2 }}
autopilot/{{ $key }}: {{ $name }}
{{- end }}
{{- end }}

{{/* The inventory of a PoP, as text: list $ POP. */}}
{{- define "autopilot.inventory" -}}
{{- $root := index . 0 }}
{{- $pop := index . 1 }}
{{- $text := get $root.Values.inventories $pop | default ($root.Files.Get (printf "inventories/%s.toml" $pop)) }}
{{- if not $text }}{{ fail (printf "pops: %s has no inventory: add inventories/%s.toml to the chart, or set inventories.%s" $pop $pop $pop) }}{{ end }}
{{- if ne (fromToml $text).name $pop }}{{ fail (printf "pops: the inventory of %s says name = %q" $pop ((fromToml $text).name | toString)) }}{{ end }}
{{- trim $text }}
{{- end }}

{{/* The entries of `pops` by cell, as YAML. */}}
{{- define "autopilot.cells" -}}
{{- $cells := dict }}
{{- $seen := dict }}
{{- range .Values.pops }}
{{- if hasKey $seen .name }}{{ fail (printf "pops: %s is there twice; leave one out" .name) }}{{ end }}
{{- $_ := set $seen .name true }}
{{- $cell := .cell | default .name }}
{{- $pops := get $cells $cell | default list }}
{{- $_ := set $cells $cell (append $pops .) }}
{{- end }}
{{- toYaml $cells }}
{{- end }}

{{/* A value in TOML, on one line. */}}
{{- define "autopilot.toml.value" -}}
{{- if kindIs "map" . }}{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ $key }} = {{ include "autopilot.toml.value" (get $ $key) }}{{ end -}} }
{{- else if kindIs "slice" . }}[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "autopilot.toml.value" $item }}{{ end }}]
{{- else }}{{ toJson . }}{{ end }}
{{- end }}

{{/* A settings file: first the values of its top level, then its tables. toToml would write 6070.0 for 6070. */}}
{{- define "autopilot.toml" -}}
{{- range $key := keys . | sortAlpha }}
{{- if not (kindIs "map" (get $ $key)) }}
{{ $key }} = {{ include "autopilot.toml.value" (get $ $key) }}
{{- end }}
{{- end }}
{{- range $key := keys . | sortAlpha }}
{{- $table := get $ $key }}
{{- if kindIs "map" $table }}

[{{ $key }}]
{{- range $name := keys $table | sortAlpha }}
{{ $name }} = {{ include "autopilot.toml.value" (get $table $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* autopilot.toml for these PoPs: list $ POPS MODE CELLS HTTP. Whose certificate it is depends on what is mounted. */}}
{{- define "autopilot.settings" -}}
{{- $root := index . 0 }}
{{- $settings := deepCopy $root.Values.settings }}
{{- $files := list }}
{{- range index . 1 }}{{ $files = append $files (printf "%s.toml" .) }}{{ end }}
{{- $kafka := dict "broker" (include "autopilot.broker" $root) "security" "mtls" "replication_factor" $root.Values.kafka.replicas }}
{{- $_ := set $kafka "ca_file" "/etc/kafka/ca/ca.crt" }}
{{- $_ := set $kafka "cert_file" "/etc/kafka/user/user.crt" }}
{{- $_ := set $kafka "key_file" "/etc/kafka/user/user.key" }}
{{- $_ := set $kafka "standby_replicas" (ternary 1 0 (gt (int $root.Values.telemetry.replicas) 1)) }}
{{- $_ := set $settings "kafka" (mergeOverwrite (dict) ($settings.kafka | default dict) $kafka) }}
{{- $_ := set $settings "pops" $files }}
{{- $_ := set $settings "mode" (index . 2) }}
{{- $_ := set $settings "data_dir" "/var/lib/autopilot" }}
{{- $_ := set $settings "halt_file" "/run/autopilot/halt" }}
{{- $_ := set $settings "http" (index . 4 | merge (dict "listen" $root.Values.listen)) }}
{{- if index . 3 }}{{ $_ := set $settings "cells" (index . 3) }}{{ end }}
{{- include "autopilot.toml" $settings | trim }}
{{- end }}

{{/* What the ConfigMap of a cell has: list $ CELL POPS. */}}
{{- define "autopilot.data" -}}
{{- $root := index . 0 }}
{{- $cell := index . 1 }}
{{- $names := list }}
{{- $modes := dict }}
{{- range index . 2 }}
{{- $names = append $names .name }}
{{- $_ := set $modes (.mode | default $root.Values.settings.mode) true }}
{{- end }}
{{- if gt (len $modes) 1 }}{{ fail (printf "pops: cell %s: give all its PoPs one mode" $cell) }}{{ end }}
{{- $cells := ternary dict (dict $cell $names) (eq (toJson $names) (toJson (list $cell))) -}}
autopilot.toml: |
  {{- include "autopilot.settings" (list $root $names (keys $modes | first) $cells dict) | nindent 2 }}
{{- range $names }}
{{ . }}.toml: |
  {{- include "autopilot.inventory" (list $root .) | nindent 2 }}
{{- end }}
{{- end }}

{{- define "autopilot.broker" -}}
{{- .Values.kafka.broker | default (printf "%s-kafka-bootstrap.%s.svc:9093" .Values.kafka.cluster .Release.Namespace) }}
{{- end }}

{{/* What every pod of ours has: list $ COMPONENT SCOPE NODESELECTOR. */}}
{{- define "autopilot.pod" -}}
{{- $root := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- if $root.Values.priority.create }}
priorityClassName: {{ include "autopilot.priority" $root }}
{{- end }}
{{- with index . 3 }}
nodeSelector: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "autopilot.selector" $ | nindent 8 }}
{{- end }}
{{- end }}

{{- define "autopilot.priority" -}}
{{ .Release.Namespace }}-autopilot
{{- end }}

{{/* What every container of ours has. */}}
{{- define "autopilot.container" -}}
{{- $root := index . 0 -}}
image: {{ required (printf "images.%s: name the image, REPOSITORY:TAG or REPOSITORY@sha256:DIGEST" (index . 1)) (get $root.Values.images (index . 1)) }}
imagePullPolicy: {{ $root.Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* What a container needs that writes files for the next. */}}
{{- define "autopilot.files.resources" -}}
{"requests":{"cpu":"10m","memory":"128Mi"},"limits":{"memory":"256Mi"}}
{{- end }}

{{/* Volumes of whoever speaks to Kafka, beside its settings: list $ USER. 288 is 0440. */}}
{{- define "autopilot.volumes" -}}
- name: ca
  secret: {secretName: {{ (index . 0).Values.kafka.cluster }}-cluster-ca-cert, defaultMode: 288}
- name: user
  secret: {secretName: {{ index . 1 }}, defaultMode: 288}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
- name: run
  emptyDir: {sizeLimit: 16Mi}
{{- end }}

{{- define "autopilot.mounts" -}}
- {name: settings, mountPath: /etc/autopilot, readOnly: true}
- {name: ca, mountPath: /etc/kafka/ca, readOnly: true}
- {name: user, mountPath: /etc/kafka/user, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: run, mountPath: /run/autopilot}
{{- end }}

{{/* Labels of Strimzi's objects. */}}
{{- define "autopilot.strimzi" -}}
strimzi.io/cluster: {{ .Values.kafka.cluster }}
{{- end }}

{{/* The configuration of oauth2-proxy: who may come in, and what the view is told of them. */}}
{{- define "autopilot.login" -}}
{{- $login := .Values.view.login }}
{{- $six := contains ":" .Values.listen -}}
server:
  bindAddress: "{{ ternary "[::]" "0.0.0.0" $six }}:4180"
providers:
  - id: login
    provider: oidc
    clientID: {{ $login.clientId | quote }}
    clientSecretFile: /etc/login/client-secret
    {{- with $login.ca }}
    caFiles: [{{ printf "/etc/login/%s" . | quote }}]
    {{- end }}
    scope: {{ $login.scope | quote }}
    code_challenge_method: S256
    allowedGroups: {{ toJson $login.groups }}
    oidcConfig:
      issuerURL: {{ $login.issuer | quote }}
      emailClaim: email
      groupsClaim: groups
      audienceClaims: [aud]
upstreamConfig:
  upstreams:
    - {id: view, path: /, uri: "http://{{ ternary "[::1]" "127.0.0.1" $six }}:6072", flushInterval: 100ms}
injectRequestHeaders:
  - name: X-Forwarded-User
    preserveRequestValue: false
    values: [{claimSource: {claim: email}}]
  - name: X-Autopilot-Proxy-Secret
    preserveRequestValue: false
    values: [{secretSource: {fromFile: /etc/login/proxy-secret}}]
{{- end }}

{{/* A disk of Strimzi: list KAFKA GIB. */}}
{{- define "autopilot.disk" -}}
{{- $disk := dict "id" 0 "type" "persistent-claim" "size" (printf "%dGi" (int (index . 1))) "kraftMetadata" "shared" "deleteClaim" false }}
{{- with (index . 0).brokers.storageClass }}{{ $_ := set $disk "class" . }}{{ end }}
{{- toJson $disk }}
{{- end }}

{{/* Peers of a network policy, from a list of addresses, some of which may be missing. */}}
{{- define "autopilot.hosts" -}}
{{- $peers := list }}
{{- range . | compact | uniq }}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" (printf "%s/%d" . (ternary 128 32 (contains ":" .))))) }}
{{- end }}
{{- toJson $peers }}
{{- end }}
