{{/* Secrets and variables that the gateway's configuration names. */}}

{{/*
The settings below a value that hold a secret written out: dict "where" PATH "value" V "secret" BOOL → a path in each line.
No text of the chart shows the value.
*/}}
{{- define "gatehouse.literals" -}}
{{- $where := .where -}}
{{- $secret := .secret -}}
{{- if kindIs "map" .value -}}
{{- range $name, $value := .value -}}
{{- include "gatehouse.literals" (dict "where" (printf "%s.%s" $where $name) "value" $value "secret" (has $name (list "password" "key_password" "token"))) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "gatehouse.literals" (dict "where" (printf "%s[%d]" $where $index) "value" $value "secret" $secret) -}}
{{- end -}}
{{- else if and $secret (not (regexMatch "^(\\$\\{[A-Za-z_][A-Za-z0-9_]*(:?[-?+].*)?\\})?$" (toString .value))) -}}
{{- printf "%s\n" $where -}}
{{- end -}}
{{- end -}}

{{/* The variables that the configuration cannot do without: JSON [NAME]. `$${NAME}` is text, `${NAME:-…}` has a default. */}}
{{- define "gatehouse.variables" -}}
{{- $text := include "gatehouse.config" . -}}
{{- $names := list -}}
{{- range regexFindAll "\\$+\\{[A-Za-z_][A-Za-z0-9_]*(:?[-+])?" $text -1 -}}
{{- $dollars := regexFind "^\\$+" . | len -}}
{{- if and (eq (mod $dollars 2) 1) (not (regexMatch "[-+]$" .)) -}}
{{- $names = append $names (regexFind "[A-Za-z_][A-Za-z0-9_]*" .) -}}
{{- end -}}
{{- end -}}
{{- range regexFindAll "\"env\":\"[^\"$]+\"" $text -1 -}}
{{- $names = append $names (trimPrefix "\"env\":\"" . | trimSuffix "\"") -}}
{{- end -}}
{{- uniq $names | toJson -}}
{{- end -}}
