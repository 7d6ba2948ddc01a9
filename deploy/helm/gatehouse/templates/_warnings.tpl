{{/* What is rendered as it was asked for, and is said aloud in the notes: JSON [TEXT]. */}}
{{- define "gatehouse.warnings" -}}
{{- $said := list -}}
{{- $pod := .Values.podSecurityContext -}}
{{- $container := .Values.securityContext -}}
{{- if $container.privileged -}}
{{- $said = append $said "securityContext.privileged is true" -}}
{{- end -}}
{{- if ne (toString $container.allowPrivilegeEscalation) "false" -}}
{{- $said = append $said "securityContext.allowPrivilegeEscalation is not false" -}}
{{- end -}}
{{- /* What the container says wins; `merge` would take its false for nothing. */ -}}
{{- $noRoot := hasKey $container "runAsNonRoot" | ternary $container.runAsNonRoot $pod.runAsNonRoot -}}
{{- if ne (toString $noRoot) "true" -}}
{{- $said = append $said "podSecurityContext.runAsNonRoot is not true" -}}
{{- end -}}
{{- range $name, $context := dict "podSecurityContext" $pod "securityContext" $container -}}
{{- if and (hasKey $context "runAsUser") (eq (toString $context.runAsUser) "0") -}}
{{- $said = append $said (printf "%s.runAsUser is 0, which is root" $name) -}}
{{- end -}}
{{- end -}}
{{- $capabilities := default dict $container.capabilities -}}
{{- range $capabilities.add -}}
{{- if ne . "NET_BIND_SERVICE" -}}
{{- $said = append $said (printf "securityContext.capabilities.add has %s" .) -}}
{{- end -}}
{{- end -}}
{{- if not (has "ALL" (default list $capabilities.drop)) -}}
{{- $said = append $said "securityContext.capabilities.drop has not ALL" -}}
{{- end -}}
{{- if not (has (dig "type" "" (default (default dict $pod.seccompProfile) $container.seccompProfile)) (list "RuntimeDefault" "Localhost")) -}}
{{- $said = append $said "podSecurityContext.seccompProfile is not RuntimeDefault" -}}
{{- end -}}
{{- range .Values.extraVolumes -}}
{{- if .hostPath -}}
{{- $said = append $said (printf "extraVolumes has the folder %s of the node" .hostPath.path) -}}
{{- end -}}
{{- end -}}
{{- $warnings := list -}}
{{- range $said -}}
{{- $warnings = append $warnings (printf "%s: the profile `restricted` refuses such pods, and whoever breaks into one may get further." .) -}}
{{- end -}}
{{- $services := include "gatehouse.services" . | fromJson -}}
{{- range include "gatehouse.discovered" . | fromJsonArray -}}
{{- if not (hasKey $services .) -}}
{{- $warnings = append $warnings (printf "service %s, whose address clients are told, is not made by this chart: no pod is ready before it is there and has an address." .) -}}
{{- end -}}
{{- end -}}
{{- toJson $warnings -}}
{{- end -}}
