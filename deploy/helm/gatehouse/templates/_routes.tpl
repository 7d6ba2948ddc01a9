{{/*
What the gateway's own configuration says of ports. Everything in this chart that names a port of a broker comes from
here, so that services, policies and notes cannot say anything else than the gateway does.
*/}}

{{/* The configuration without what is null: so a values file takes away what another one says. */}}
{{- define "gatehouse.written" -}}
{{- include "gatehouse.pruned" .Values.config -}}
{{- end -}}

{{/* The same, and where discovery is on, listeners that say no host are told that of the service before them. */}}
{{- define "gatehouse.config" -}}
{{- $config := include "gatehouse.written" . | fromJson -}}
{{- if .Values.discovery.kubernetes.enabled -}}
{{- $services := include "gatehouse.services" . | fromJson -}}
{{- range $name, $listener := $config.listeners -}}
{{- $advertise := default dict $listener.advertise -}}
{{- if and (kindIs "map" $advertise) (not $advertise.service) (not (dig "routing" "sni" "" $listener)) -}}
{{- $own := "" -}}
{{- range $service, $settings := $services -}}
{{- if has $name $settings.listeners -}}
{{- if $own -}}
{{- fail (printf "config.listeners.%s is behind the services %s and %s: say whose address its clients are told, `advertise: { service: %s }`" $name $own $service $own) -}}
{{- end -}}
{{- $own = $service -}}
{{- end -}}
{{- end -}}
{{- $type := get (default dict (get $services $own)) "type" -}}
{{- if ne $type "LoadBalancer" -}}
{{- fail (printf "config.listeners.%s.advertise is missing, and service %s, of type %s, has no address of its own: write the host name that clients connect to" $name $own $type) -}}
{{- end -}}
{{- $_ := set $listener "advertise" (merge dict $advertise (dict "service" $own)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* The services whose address clients are told: JSON [NAME]. */}}
{{- define "gatehouse.discovered" -}}
{{- $names := list -}}
{{- range $name, $listener := (include "gatehouse.config" . | fromJson).listeners -}}
{{- if kindIs "map" $listener.advertise -}}{{- $names = append $names $listener.advertise.service -}}{{- end -}}
{{- end -}}
{{- uniq $names | sortAlpha | toJson -}}
{{- end -}}

{{- define "gatehouse.pruned" -}}
{{- $kept := dict -}}
{{- range $name, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $name (include "gatehouse.pruned" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{/* Text of a number that came through JSON: 2147483647, not 2.147483647e+09. */}}
{{- define "gatehouse.text" -}}
{{- if kindIs "float64" . -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}
{{- end -}}

{{/* "HOST:PORT" → PORT, "" where there is none. */}}
{{- define "gatehouse.port" -}}
{{- regexFind ":[0-9]+$" (include "gatehouse.text" .) | trimPrefix ":" -}}
{{- end -}}

{{/* "HOST:PORT" or "HOST" → HOST. */}}
{{- define "gatehouse.host" -}}
{{- regexReplaceAll ":[0-9]+$" (include "gatehouse.text" .) "" -}}
{{- end -}}

{{/* dict "where" SETTING "value" V: a port, as text. */}}
{{- define "gatehouse.number" -}}
{{- $text := include "gatehouse.text" .value -}}
{{- if not (regexMatch "^[0-9]{1,5}$" $text) -}}
{{- fail (printf "config.%s is %q: the chart needs the port itself, a number" .where $text) -}}
{{- end -}}
{{- if or (lt (int $text) 1) (gt (int $text) 65535) -}}
{{- fail (printf "config.%s is %s: a port is 1 to 65535" .where $text) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* dict "where" SETTING "nodes" V "most" N: the ranges of node ids, JSON [{first, last}]; each has N at most. */}}
{{- define "gatehouse.nodes" -}}
{{- $where := .where -}}
{{- $most := .most -}}
{{- $ranges := list -}}
{{- range kindIs "slice" .nodes | ternary .nodes (list .nodes) -}}
{{- $text := include "gatehouse.text" . -}}
{{- if not (regexMatch "^[0-9]+(-[0-9]+)?$" $text) -}}
{{- fail (printf "config.%s is %q: node ids are `0-9`, or one, `7`" $where $text) -}}
{{- end -}}
{{- $ends := splitList "-" $text -}}
{{- if lt (int64 (last $ends)) (int64 (first $ends)) -}}
{{- fail (printf "config.%s is %q: it ends before it begins" $where $text) -}}
{{- end -}}
{{- if gt (add1 (sub (int64 (last $ends)) (int64 (first $ends)))) (int64 $most) -}}
{{- fail (printf "config.%s is %q: that is more than %d; say which node ids there are" $where $text $most) -}}
{{- end -}}
{{- $ranges = append $ranges (dict "first" (int64 (first $ends)) "last" (int64 (last $ends))) -}}
{{- end -}}
{{- toJson $ranges -}}
{{- end -}}

{{/* dict "name" LISTENER "listener" MAP: the port that the listener binds for bootstrap. */}}
{{- define "gatehouse.bind" -}}
{{- $where := printf "listeners.%s.bind" .name -}}
{{- $addresses := kindIs "slice" .listener.bind | ternary .listener.bind (list .listener.bind) -}}
{{- $port := "" -}}
{{- range $addresses -}}
{{- if not . -}}{{- fail (printf "config.%s is missing: say `0.0.0.0:9092`, or `\"[::]:9092\"` with IPv6" $where) -}}{{- end -}}
{{- $host := include "gatehouse.host" . -}}
{{- if not (has $host (list "0.0.0.0" "[::]")) -}}
{{- fail (printf "config.%s is %q: nothing outside the pod reaches that; say `0.0.0.0:PORT` or `\"[::]:PORT\"`" $where .) -}}
{{- end -}}
{{- $port = include "gatehouse.number" (dict "where" $where "value" (include "gatehouse.port" .)) -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* All routes, as `gatehouse routes -o json` has them: JSON [{listener, mode, node, host, port, bind}], node -1 is bootstrap. */}}
{{- define "gatehouse.routes" -}}
[{{ include "gatehouse.listed" . | trimSuffix "," }}]
{{- end -}}

{{/* The same without brackets: printed one by one, because a list that grows is copied each time. */}}
{{- define "gatehouse.listed" -}}
{{- range $name, $listener := (include "gatehouse.config" . | fromJson).listeners -}}
{{- $where := printf "listeners.%s" $name -}}
{{- $bind := include "gatehouse.bind" (dict "name" $name "listener" $listener) -}}
{{- $routing := default dict $listener.routing -}}
{{- if $routing.sni -}}
{{- $port := $bind -}}
{{- with $routing.sni.advertised_port -}}
{{- $port = include "gatehouse.number" (dict "where" (printf "%s.routing.sni.advertised_port" $where) "value" .) -}}
{{- end -}}
{{- $route := dict "listener" $name "mode" "sni" "port" (int $port) "bind" (int $bind) -}}
{{- merge (dict "node" -1 "host" $routing.sni.bootstrap) $route | toJson }},
{{- $where := printf "%s.routing.sni.nodes" $where -}}
{{- $nodes := kindIs "invalid" $routing.sni.nodes | ternary "0-99" $routing.sni.nodes -}}
{{- range include "gatehouse.nodes" (dict "where" $where "nodes" $nodes "most" 10000) | fromJsonArray -}}
{{- range $node := untilStep (int .first) (int (add1 .last)) 1 -}}
{{- $host := replace "{node}" (toString $node) $routing.sni.brokers -}}
{{- merge (dict "node" $node "host" $host) $route | toJson }},
{{- end -}}
{{- end -}}
{{- else -}}
{{- if not $listener.advertise -}}
{{- fail (printf "config.%s.advertise is missing: the host name that clients connect to, `kafka.example.com` or `kafka.example.com:31092`" $where) -}}
{{- end -}}
{{- $port := "" -}}
{{- $host := "" -}}
{{- if kindIs "map" $listener.advertise -}}
{{- with $listener.advertise.port -}}
{{- $port = include "gatehouse.number" (dict "where" (printf "%s.advertise.port" $where) "value" .) -}}
{{- end -}}
{{- $host = printf "<service/%s>" (list $listener.advertise.namespace $listener.advertise.service | compact | join "/") -}}
{{- else -}}
{{- $port = include "gatehouse.port" $listener.advertise -}}
{{- $host = include "gatehouse.host" $listener.advertise -}}
{{- end -}}
{{- $port = default $bind $port -}}
{{- $route := dict "listener" $name "mode" "port" "host" $host -}}
{{- merge (dict "node" -1 "port" (int $port) "bind" (int $bind)) $route | toJson }},
{{- $follows := dict "nodes" "0-99" "bind" (add1 $bind) "advertise" (add1 $port) -}}
{{- $ranges := default (list $follows) (dig "port" "ranges" list $routing) -}}
{{- range $index, $range := $ranges -}}
{{- $where := printf "%s.routing.port.ranges[%d]" $where $index -}}
{{- $bind := include "gatehouse.number" (dict "where" (printf "%s.bind" $where) "value" $range.bind) -}}
{{- $advertise := $bind -}}
{{- if not (kindIs "invalid" $range.advertise) -}}
{{- $advertise = include "gatehouse.number" (dict "where" (printf "%s.advertise" $where) "value" $range.advertise) -}}
{{- end -}}
{{- $nodes := include "gatehouse.nodes" (dict "where" (printf "%s.nodes" $where) "nodes" $range.nodes "most" 2768) | fromJsonArray | first -}}
{{- range $offset := until (int (add1 (sub $nodes.last $nodes.first))) -}}
{{- $node := add (int64 $nodes.first) $offset -}}
{{- merge (dict "node" $node "port" (add $advertise $offset) "bind" (add $bind $offset)) $route | toJson }},
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* All ports that the listeners bind: JSON [{name, bind}]. The names are those of the services' ports. */}}
{{- define "gatehouse.bound" -}}
{{- $bound := list -}}
{{- range include "gatehouse.routes" . | fromJsonArray -}}
{{- $name := printf "%s-%d" (eq .mode "sni" | ternary "tls" "tcp") (int .bind) -}}
{{- $bound = append $bound (dict "name" $name "bind" (int .bind)) -}}
{{- end -}}
{{- uniq $bound | toJson -}}
{{- end -}}

{{/*
The ports of a service: dict "root" $ "name" NAME "service" SETTINGS → JSON [{name, port, bind, nodePort, mode}],
one for each port that its listeners bind. In the NodePort form clients are told node ports, else those of the service.
*/}}
{{- define "gatehouse.ports" -}}
{{- $service := .service -}}
{{- $nodePorts := default dict $service.nodePorts -}}
{{- $onNodes := eq $service.type "NodePort" -}}
{{- $seen := dict -}}
{{- $taken := dict -}}
{{- $ports := list -}}
{{- range include "gatehouse.routes" .root | fromJsonArray -}}
{{- $bind := include "gatehouse.text" .bind -}}
{{- $port := include "gatehouse.text" .port -}}
{{- if and (has .listener $service.listeners) (not (hasKey $seen $bind)) -}}
{{- $_ := set $seen $bind true -}}
{{- $nodePort := get $nodePorts $bind -}}
{{- if and $onNodes (not $nodePort) -}}{{- $nodePort = $port -}}{{- end -}}
{{- $shown := ternary $bind $port $onNodes -}}
{{- if hasKey $taken $shown -}}
{{- fail (printf "service %s: %s and %s both want port %s; advertise another port, or give one of the listeners a service of its own (service.listeners, extraServices)" $.name (get $taken $shown) .listener $shown) -}}
{{- end -}}
{{- $_ := set $taken $shown .listener -}}
{{- $entry := dict "name" (printf "%s-%s" (eq .mode "sni" | ternary "tls" "tcp") $bind) "port" (int $shown) "bind" (int $bind) "listener" .listener -}}
{{- if $nodePort -}}{{- $_ := set $entry "nodePort" (int $nodePort) -}}{{- end -}}
{{- $ports = append $ports $entry -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/*
All services with brokers behind them: JSON {NAME: SETTINGS}, each with the names of its listeners. The first takes
those that no extra service names, and is left out where none is left.
*/}}
{{- define "gatehouse.services" -}}
{{- $fullname := include "gatehouse.fullname" . -}}
{{- $services := dict -}}
{{- $claimed := list -}}
{{- range $name, $service := .Values.extraServices -}}
{{- $defaults := dict "type" "LoadBalancer" "nodePortRange" $.Values.service.nodePortRange "maxPorts" $.Values.service.maxPorts -}}
{{- $_ := set $services (printf "%s-%s" $fullname $name) (merge dict $service $defaults) -}}
{{- $claimed = concat $claimed $service.listeners -}}
{{- end -}}
{{- $listeners := .Values.service.listeners -}}
{{- if not $listeners -}}
{{- range $name, $listener := (include "gatehouse.written" . | fromJson).listeners -}}
{{- if not (has $name $claimed) -}}{{- $listeners = append $listeners $name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $listeners -}}
{{- $_ := set $services $fullname (merge (dict "listeners" $listeners) .Values.service) -}}
{{- end -}}
{{- toJson $services -}}
{{- end -}}

{{/* Folders under /etc/gatehouse: JSON {NAME: {secret | configMap, …}}. */}}
{{- define "gatehouse.mounts" -}}
{{- $mounts := deepCopy .Values.mounts -}}
{{- if .Values.certificate.enabled -}}
{{- $_ := set $mounts "tls" (dict "secret" (include "gatehouse.certificateSecret" .)) -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end -}}

{{- define "gatehouse.certificateSecret" -}}
{{- default (printf "%s-tls" (include "gatehouse.fullname" .)) .Values.certificate.secretName -}}
{{- end -}}

{{/* Port of the admin pages. */}}
{{- define "gatehouse.adminPort" -}}
{{- $bind := dig "admin" "bind" "" (include "gatehouse.config" . | fromJson) -}}
{{- if not (has (include "gatehouse.host" $bind) (list "0.0.0.0" "[::]")) -}}
{{- fail (printf "config.admin.bind is %q: probes and metrics reach the pod's address alone; say `0.0.0.0:9910` or `\"[::]:9910\"`" $bind) -}}
{{- end -}}
{{- include "gatehouse.number" (dict "where" "admin.bind" "value" (include "gatehouse.port" $bind)) -}}
{{- end -}}

{{/* dict "where" SETTING "value" "1m 30s": whole seconds, rounded up. */}}
{{- define "gatehouse.seconds" -}}
{{- $text := include "gatehouse.text" .value -}}
{{- if not (regexMatch "^([0-9]+ *(ms|s|m|h) *)+$" $text) -}}
{{- fail (printf "config.%s is %q: write it in ms, s, m or h, or set terminationGracePeriodSeconds" .where $text) -}}
{{- end -}}
{{- $milliseconds := 0 -}}
{{- range regexFindAll "[0-9]+ *[a-z]+" $text -1 -}}
{{- $unit := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+" .) -}}
{{- $milliseconds = add $milliseconds (mul (regexFind "[0-9]+" . | int64) $unit) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end -}}
