//! Contacts of one person: which of them become one, and which stay two that act as one.

use uuid::Uuid;

/// What people and catalogues say of a contact. Two contacts that say different things stay two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub name: Option<String>,
    pub handle: Option<String>,
    pub catalogue: Option<String>,
    /// The name and the handle that each product has given, by product.
    pub products: Vec<(String, Option<String>, Option<String>)>,
}

impl Given {
    /// Whether what both say can stand on one contact.
    fn agrees_with(&self, other: &Self) -> bool {
        let both = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        both(&self.name, &other.name)
            && both(&self.handle, &other.handle)
            && both(&self.catalogue, &other.catalogue)
            && self.products.iter().all(|(product, name, handle)| {
                other
                    .products
                    .iter()
                    .filter(|(theirs, ..)| theirs == product)
                    .all(|(_, their_name, their_handle)| {
                        both(name, their_name) && both(handle, their_handle)
                    })
            })
    }

    fn add(&mut self, other: &Self) {
        self.name = self.name.take().or_else(|| other.name.clone());
        self.handle = self.handle.take().or_else(|| other.handle.clone());
        self.catalogue = self.catalogue.take().or_else(|| other.catalogue.clone());
        self.products.extend(other.products.iter().cloned());
    }

    /// How much a contact is somebody's work: the others come to it.
    const fn weight(&self) -> (bool, bool, bool, bool) {
        (
            self.catalogue.is_some(),
            self.handle.is_some(),
            self.name.is_some(),
            !self.products.is_empty(),
        )
    }
}

/// The contacts of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Who stays: from a catalogue, then with a handle or a name, then the oldest.
    pub survivor: Uuid,
    pub absorbed: Vec<Uuid>,
    /// What is given of these differs: they stay contacts of their own, and act as one.
    pub linked: Vec<Uuid>,
}

/// Sorts the contacts of one person. None for no contacts.
pub fn group(mut contacts: Vec<(Uuid, Given)>) -> Option<Group> {
    contacts.sort_by(|(one, given), (other, theirs)| {
        theirs.weight().cmp(&given.weight()).then(one.cmp(other))
    });
    let mut contacts = contacts.into_iter();
    let (survivor, mut given) = contacts.next()?;
    let mut group = Group {
        survivor,
        absorbed: Vec::new(),
        linked: Vec::new(),
    };
    for (contact, theirs) in contacts {
        if given.agrees_with(&theirs) {
            given.add(&theirs);
            group.absorbed.push(contact);
        } else {
            group.linked.push(contact);
        }
    }
    Some(group)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Given, group};

    fn named(name: &str) -> Given {
        Given {
            name: Some(name.to_owned()),
            ..Given::default()
        }
    }

    #[test]
    fn what_agrees_becomes_one_and_what_differs_stays_two() {
        let id = Uuid::from_u128;
        let of_catalogue = Given {
            catalogue: Some("crm".to_owned()),
            handle: Some("asha".to_owned()),
            ..Given::default()
        };
        let found = group(vec![
            (id(1), Given::default()),
            (id(2), named("Asha")),
            (id(3), of_catalogue),
            (id(4), named("Bo")),
        ])
        .unwrap();
        assert_eq!(found.survivor, id(3));
        assert_eq!(found.absorbed, [id(2), id(1)]);
        assert_eq!(found.linked, [id(4)]);
        assert_eq!(group(Vec::new()), None);
    }

    #[test]
    fn two_products_may_call_one_person_by_two_names_and_one_product_may_not() {
        let of = |product: &str, name: &str| Given {
            products: vec![(product.to_owned(), Some(name.to_owned()), None)],
            ..Given::default()
        };
        let id = Uuid::from_u128;
        let two = group(vec![(id(1), of("shop", "A")), (id(2), of("bank", "B"))]).unwrap();
        assert_eq!(two.absorbed, [id(2)]);
        let same = group(vec![(id(1), of("shop", "A")), (id(2), of("shop", "B"))]).unwrap();
        assert_eq!(same.linked, [id(2)]);
    }
}
