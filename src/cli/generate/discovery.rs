//! What pods need to ask the Kubernetes API for the address of a Service: the right to, and a token.

use std::collections::BTreeSet;

use super::args::Kubernetes;
use super::place::Place;
use super::{quote, template};

/// A token that ends, beside what tells the API by its certificate.
pub(super) const MOUNT: &str = "            \
- { name: kubernetes-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }\n";
pub(super) const VOLUME: &str = "        - name: kubernetes-token
          projected:
            defaultMode: 288
            sources:
              - serviceAccountToken: { path: token, expirationSeconds: 3600 }
              - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
              - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
";

const OBJECTS: &str = "\
# May read the service that has the address, and nothing else.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
{metadata}
rules:
  - apiGroups: [\"\"]
    resources: [services]
    resourceNames: [{services}]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
{metadata}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role} }
subjects:
  - { kind: ServiceAccount, name: {name}, namespace: {namespace} }
---
";

/// The objects, or nothing where every listener says itself what clients are told. `metadata` is theirs, as lines.
pub(super) fn of(place: &Place, flags: &Kubernetes, metadata: String) -> Result<String, String> {
    let listeners = &place.config.listeners;
    let services: Vec<_> = listeners.iter().filter_map(|listener| listener.advertised.as_ref()).collect();
    if services.is_empty() {
        return Ok(String::new());
    }
    let Some(namespace) = &flags.namespace else {
        return Err(
            "`advertise: { service: … }` needs a right to read that service, which is given to a namespace: \
                    name it with --namespace"
                .to_owned(),
        );
    };
    if let Some(other) = services.iter().find_map(|service| service.namespace.as_deref())
        && other != namespace
    {
        return Err(format!(
            "the service that has the address is in namespace `{other}`, and the pods would be in `{namespace}`: \
             `--namespace {other}`, or give the right there by hand"
        ));
    }
    let names: BTreeSet<String> = services.iter().map(|service| quote::yaml(&service.name)).collect();
    let values = [
        ("metadata", metadata),
        ("services", names.into_iter().collect::<Vec<_>>().join(", ")),
        ("role", quote::yaml(&format!("{}-discovery", flags.name))),
        ("name", quote::yaml(&flags.name)),
        ("namespace", quote::yaml(namespace)),
    ];
    Ok(template::fill(OBJECTS, &values))
}
