//! What others have added where nothing but the built is to be. Server-side apply corrects only the fields that it owns;
//! whose a field is stands in `metadata.managedFields`
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>): a tree with `f:name` for a field, `k:{…}` for
//! an item of a list, `v:…` for a value of a set and `.` for the thing itself.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::{MANAGER, PRUNER};

/// Whether somebody else owns a field in one of the `strict` places (`spec.template`) that we do not.
pub(super) fn has_additions(live: &DynamicObject, strict: &[&str]) -> bool {
    let entries = live.managed_fields();
    let fields = |it: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        it.fields_v1
            .as_ref()
            .map(|fields| fields.0.clone())
            .unwrap_or_default()
    };
    let is_ours = |manager: Option<&str>| matches!(manager, Some(MANAGER | PRUNER));
    let ours = entries
        .iter()
        .filter(|it| {
            it.manager.as_deref() == Some(MANAGER) && it.operation.as_deref() == Some("Apply")
        })
        .map(fields)
        .next()
        .unwrap_or_default();
    entries
        .iter()
        .filter(|it| !is_ours(it.manager.as_deref()) && it.subresource.is_none())
        .map(fields)
        .any(|theirs| {
            strict
                .iter()
                .any(|place| adds(at(&theirs, place), at(&ours, place)))
        })
}

/// The tree below a place such as `spec.template`.
fn at<'a>(tree: &'a Value, place: &str) -> Option<&'a Value> {
    place
        .split('.')
        .try_fold(tree, |tree, step| tree.get(format!("f:{step}")))
}

fn adds(theirs: Option<&Value>, ours: Option<&Value>) -> bool {
    let Some(theirs) = theirs.and_then(Value::as_object) else {
        return false;
    };
    let Some(ours) = ours.and_then(Value::as_object) else {
        return true;
    };
    // A leaf of ours is the whole of a thing that has no parts.
    if ours.is_empty() {
        return false;
    }
    let mut parts = theirs.iter().filter(|(key, _)| *key != ".");
    parts.any(|(key, theirs)| match ours.get(key) {
        Some(ours) => adds_below(theirs, ours),
        None => true,
    })
}

fn adds_below(theirs: &Value, ours: &Value) -> bool {
    let is_leaf = |tree: &Value| tree.as_object().is_none_or(Map::is_empty);
    !is_leaf(theirs) && adds(Some(theirs), Some(ours))
}

/// The object with the built in the strict places, for a replacement. Ports that Kubernetes chose are kept.
pub(super) fn pruned(live: &DynamicObject, built: &Value, strict: &[&str]) -> DynamicObject {
    let mut pruned = live.clone();
    for place in strict {
        let steps: Vec<&str> = place.split('.').collect();
        let (mut from, mut to) = (built, &mut pruned.data);
        for step in &steps {
            from = &from[step];
            to = &mut to[step];
        }
        let before = std::mem::replace(to, from.clone());
        keep_node_ports(to, &before);
    }
    pruned
}

fn keep_node_ports(ports: &mut Value, before: &Value) {
    let (Some(ports), Some(before)) = (ports.as_array_mut(), before.as_array()) else {
        return;
    };
    for port in ports {
        let same = |before: &Value, key: &str| !port[key].is_null() && before[key] == port[key];
        let as_before = |key: &str| before.iter().find(|before| same(before, key));
        let chosen = as_before("port").or_else(|| as_before("name"));
        let chosen = chosen
            .map(|before| before["nodePort"].clone())
            .filter(|it| !it.is_null());
        if let (Some(chosen), Some(port)) = (chosen, port.as_object_mut()) {
            port.entry("nodePort").or_insert(chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(theirs: Value, manager: &str) -> DynamicObject {
        let ours = json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"broker\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}});
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "a", "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": ours},
                {"manager": manager, "operation": "Update", "fieldsV1": theirs},
            ]},
            "spec": {"template": {"spec": {"containers": [{"name": "broker"}, {"name": "spy"}]}}},
        }))
        .unwrap()
    }

    const STRICT: &[&str] = &["spec.template", "spec.selector"];

    #[test]
    fn a_container_that_somebody_added_is_noticed_and_taken_out() {
        let theirs = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"spy\"}": {".": {}, "f:name": {}}}}}}});
        let live = object(theirs, "kubectl-edit");
        assert!(has_additions(&live, STRICT));
        let built = json!({"spec": {"template": {"spec": {"containers": [{"name": "broker"}]}}}});
        let pruned = pruned(&live, &built, &["spec.template"]);
        assert_eq!(pruned.data["spec"], built["spec"]);
    }

    #[test]
    fn fields_that_others_share_with_us_or_have_elsewhere_are_none_of_our_business() {
        let shared = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"broker\"}": {"f:image": {}}}}}, "f:replicas": {}}, "f:metadata": {"f:labels": {"f:a": {}}}});
        assert!(!has_additions(&object(shared, "kubectl"), STRICT));
    }

    #[test]
    fn what_the_pruner_left_behind_is_ours() {
        let theirs = json!({"f:spec": {"f:template": {"f:spec": {"f:dnsPolicy": {}}}}});
        assert!(has_additions(
            &object(theirs.clone(), "kubectl-edit"),
            STRICT
        ));
        assert!(!has_additions(&object(theirs, PRUNER), STRICT));
    }

    #[test]
    fn a_service_keeps_the_node_ports_that_were_chosen_for_it() {
        let live: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"ports": [{"port": 9094, "nodePort": 31000}, {"port": 22, "nodePort": 31001}]},
        }))
        .unwrap();
        let built = json!({"spec": {"ports": [{"port": 9094}]}});
        let pruned = pruned(&live, &built, &["spec.ports"]);
        assert_eq!(
            pruned.data["spec"]["ports"],
            json!([{"port": 9094, "nodePort": 31000}])
        );
        // Its number was edited: it is the one of that name.
        let named = json!({"spec": {"ports": [{"name": "kafka", "port": 9094}]}});
        let mut edited = live;
        edited.data["spec"]["ports"] = json!([{"name": "kafka", "port": 1234, "nodePort": 31000}]);
        let pruned = super::pruned(&edited, &named, &["spec.ports"]);
        assert_eq!(pruned.data["spec"]["ports"][0]["nodePort"], json!(31000));
    }
}
