//! The table that assigns slots to proxies.

use std::sync::Arc;

use super::draw::Lane;
use super::limits::MAX_PROXIES;
use super::proxy::{ProxyName, Slot};
use super::target::{Target, TargetId, TargetSet, Targets};
use crate::order;

/// A known proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownProxy {
    name: ProxyName,
    /// Offset of its draws; depends only on the name.
    lane: Lane,
    /// Whether the proxy exists. A removed proxy keeps its slot and counts until the slot is needed.
    is_present: bool,
}

/// The known proxies and their slots. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Option<Arc<[KnownProxy]>>);

/// More proxies than there are slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} proxies are more than the {MAX_PROXIES} allowed")]
pub struct TooManyProxies(pub usize);

impl Proxies {
    /// The table in which exactly `names` are present. Known names keep their slots; a new name takes an unused slot,
    /// or that of the first removed proxy, whose counts are lost.
    ///
    /// # Errors
    ///
    /// There are more than [`MAX_PROXIES`] names.
    pub fn with<'a>(&self, names: impl IntoIterator<Item = &'a ProxyName>) -> Result<Self, TooManyProxies> {
        let mut names: Vec<&ProxyName> = names.into_iter().collect();
        order::sort(&mut names);
        names.dedup();
        if names.len() > MAX_PROXIES {
            return Err(TooManyProxies(names.len()));
        }
        let mut table: Vec<KnownProxy> = self.known().to_vec();
        for known in &mut table {
            known.is_present = names.contains(&&known.name);
        }
        for name in names {
            if table.iter().any(|known| known.name == *name) {
                continue;
            }
            let known = KnownProxy { name: name.clone(), lane: Lane::named(name.as_str()), is_present: true };
            match table.iter().position(|known| !known.is_present) {
                Some(free) if table.len() == MAX_PROXIES => table[free] = known,
                _ => table.push(known),
            }
        }
        Ok(Self((!table.is_empty()).then(|| table.into())))
    }

    /// The slot of a proxy that is present.
    pub fn slot(&self, name: &ProxyName) -> Option<Slot> {
        self.present().find(|(_, known)| *known == name).map(|(slot, _)| slot)
    }

    /// The slot of a known proxy, present or not.
    pub fn slot_of_known(&self, name: &ProxyName) -> Option<Slot> {
        self.all().find(|(_, known)| *known == name).map(|(slot, _)| slot)
    }

    /// The name in a slot.
    pub fn name(&self, slot: Slot) -> Option<&ProxyName> {
        self.known().get(slot.index()).map(|known| &known.name)
    }

    /// The proxies that are present.
    pub fn present(&self) -> impl Iterator<Item = (Slot, &ProxyName)> {
        self.slots().filter(|(_, known)| known.is_present).map(|(slot, known)| (slot, &known.name))
    }

    /// All known proxies, including removed ones.
    pub fn all(&self) -> impl Iterator<Item = (Slot, &ProxyName)> {
        self.slots().map(|(slot, known)| (slot, &known.name))
    }

    fn slots(&self) -> impl Iterator<Item = (Slot, &KnownProxy)> {
        Slot::all().zip(self.known())
    }

    fn known(&self) -> &[KnownProxy] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The name of a target, as in plans and metric labels.
    pub fn target_name(&self, target: TargetId) -> &str {
        match target {
            TargetId::Class(class) => class.name(),
            TargetId::Proxy(slot) => self.name(slot).map_or("", ProxyName::as_str),
        }
    }

    /// The targets of a rule as a set of indexes. Proxies that are not present are omitted.
    pub(super) fn set(&self, targets: &Targets) -> TargetSet {
        let classes = targets.iter().fold(TargetSet::default(), |set, class| set.with(class.into()));
        let slots = targets.proxies().iter().filter_map(|name| self.slot(name));
        slots.fold(classes, |set, slot| set.with(TargetId::Proxy(slot)))
    }

    /// The offset of the draws for a target.
    #[inline]
    pub(super) fn lane(&self, target: TargetId) -> Lane {
        match target {
            TargetId::Class(class) => Lane::from(class),
            TargetId::Proxy(slot) => {
                self.known().get(slot.index()).map_or(Lane::from(Target::Traffic), |known| known.lane)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::proxy::RESERVED_NAMES;

    fn name(text: &str) -> ProxyName {
        ProxyName::new(text).unwrap()
    }

    fn names(range: std::ops::Range<usize>) -> Vec<ProxyName> {
        range.map(|i| name(&format!("p{i}"))).collect()
    }

    #[test]
    fn the_names_of_all_request_classes_are_reserved() {
        assert!(Target::ALL.iter().all(|class| RESERVED_NAMES.contains(&class.name())));
    }

    #[test]
    fn a_proxy_keeps_its_slot_while_others_come_and_go() {
        let table = Proxies::default().with(&names(0..3)).unwrap();
        let slot = table.slot(&name("p1"));
        let without = table.with(&[name("p0"), name("p9")]).unwrap();
        assert_eq!(without.slot(&name("p1")), None);
        assert_eq!(without.slot_of_known(&name("p1")), slot);
        let again = without.with(&[name("p1")]).unwrap();
        assert_eq!(again.slot(&name("p1")), slot);
        assert_eq!(again.present().count(), 1);
    }

    #[test]
    fn a_removed_proxy_loses_its_slot_only_when_none_is_unused() {
        let full = Proxies::default().with(&names(0..MAX_PROXIES)).unwrap();
        assert_eq!(full.with(&names(0..MAX_PROXIES + 1)), Err(TooManyProxies(MAX_PROXIES + 1)));
        let mut kept = names(0..MAX_PROXIES);
        let gone = kept.remove(7);
        kept.push(name("new"));
        let table = full.with(&kept).unwrap();
        assert_eq!(table.slot(&name("new")), full.slot(&gone));
        assert_eq!(table.slot_of_known(&gone), None);
    }

    #[test]
    fn draws_depend_on_the_name_and_not_on_the_slot() {
        let first = Proxies::default().with(&[name("db"), name("stock")]).unwrap();
        let second = Proxies::default().with(&[name("a"), name("b"), name("stock")]).unwrap();
        let lane = |table: &Proxies| table.lane(TargetId::Proxy(table.slot(&name("stock")).unwrap()));
        assert_ne!(first.slot(&name("stock")), second.slot(&name("stock")));
        assert_eq!(lane(&first), lane(&second));
    }
}
