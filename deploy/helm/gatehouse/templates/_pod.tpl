{{/* What the pods and the one of `helm test` have in common. */}}

{{- define "gatehouse.volumeMounts" -}}
# Folders, never a subPath: a file mounted by that is not followed.
- name: config
  mountPath: /etc/gatehouse/config
  readOnly: true
{{- range $name, $mount := include "gatehouse.mounts" . | fromJson }}
- name: {{ $name }}
  mountPath: /etc/gatehouse/{{ $name }}
  readOnly: true
{{- end }}
{{- if .Values.discovery.kubernetes.enabled }}
- name: kubernetes-token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "gatehouse.volumes" -}}
- name: config
  configMap: { name: {{ include "gatehouse.fullname" . }} }
{{- range $name, $mount := include "gatehouse.mounts" . | fromJson }}
- name: {{ $name }}
  {{- $more := omit $mount "secret" "configMap" }}
  {{- if $mount.secret }}
  secret:
    {{- toYaml (merge dict $more (dict "secretName" $mount.secret "defaultMode" 0o440)) | nindent 4 }}
  {{- else }}
  configMap:
    {{- toYaml (merge dict $more (dict "name" $mount.configMap)) | nindent 4 }}
  {{- end }}
{{- end }}
{{- if .Values.discovery.kubernetes.enabled }}
- name: kubernetes-token
  projected:
    defaultMode: {{ 0o440 }}
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end }}
{{- with .Values.extraVolumes }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* The settings that only a restart takes in: JSON. */}}
{{- define "gatehouse.fixed" -}}
{{- $config := include "gatehouse.config" . | fromJson -}}
{{- $log := default dict $config.log -}}
{{- dict "version" $config.version "node" $config.node "bind" $config.admin.bind "log" (omit $log "connections" "level") | toJson -}}
{{- end -}}
