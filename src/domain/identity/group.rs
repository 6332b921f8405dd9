//! Groups the contacts of one person: which are merged, and which stay separate and act as one.

use uuid::Uuid;

/// Data of a contact given by hand or by a catalogue. Contacts with different data stay separate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredContactData {
    pub name: Option<String>,
    pub handle: Option<String>,
    pub catalogue: Option<String>,
    /// Name and handle from each product, by product.
    pub products: Vec<(String, Option<String>, Option<String>)>,
}

impl DeclaredContactData {
    /// Whether the data of both fit on one contact.
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

    /// How much work by hand a contact contains: the others are merged into it.
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
pub struct ContactMergePlan {
    /// The contact that stays: from a catalogue, then with a handle or a name, then the oldest.
    pub survivor: Uuid,
    pub absorbed: Vec<Uuid>,
    /// Contacts whose data differ: they stay separate, and act as one.
    pub linked: Vec<Uuid>,
}

/// Groups the contacts of one person. `None` for no contacts.
pub fn group(mut contacts: Vec<(Uuid, DeclaredContactData)>) -> Option<ContactMergePlan> {
    contacts.sort_by(|(one, given), (other, theirs)| {
        theirs.weight().cmp(&given.weight()).then(one.cmp(other))
    });
    let mut contacts = contacts.into_iter();
    let (survivor, mut given) = contacts.next()?;
    let mut group = ContactMergePlan {
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

    use super::{DeclaredContactData, group};

    fn named(name: &str) -> DeclaredContactData {
        DeclaredContactData {
            name: Some(name.to_owned()),
            ..DeclaredContactData::default()
        }
    }

    #[test]
    fn what_agrees_becomes_one_and_what_differs_stays_two() {
        let id = Uuid::from_u128;
        let of_catalogue = DeclaredContactData {
            catalogue: Some("crm".to_owned()),
            handle: Some("asha".to_owned()),
            ..DeclaredContactData::default()
        };
        let found = group(vec![
            (id(1), DeclaredContactData::default()),
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
        let of = |product: &str, name: &str| DeclaredContactData {
            products: vec![(product.to_owned(), Some(name.to_owned()), None)],
            ..DeclaredContactData::default()
        };
        let id = Uuid::from_u128;
        let two = group(vec![(id(1), of("shop", "A")), (id(2), of("bank", "B"))]).unwrap();
        assert_eq!(two.absorbed, [id(2)]);
        let same = group(vec![(id(1), of("shop", "A")), (id(2), of("shop", "B"))]).unwrap();
        assert_eq!(same.linked, [id(2)]);
    }
}
