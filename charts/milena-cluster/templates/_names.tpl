{{- define "cluster.name" -}}
{{- .Values.name | default (.Release.Name | trunc 32 | trimSuffix "-") -}}
{{- end -}}

{{- define "cluster.labels" -}}
app.kubernetes.io/name: milena
app.kubernetes.io/instance: {{ include "cluster.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cluster.annotations" -}}
{{- $annotations := deepCopy .Values.annotations -}}
{{- if .Values.keep -}}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" -}}
{{- end -}}
{{- with $annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
