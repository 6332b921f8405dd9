//! A bad item alone: what is done for a batch in one transaction is done in halves when the database
//! refuses it, until the item that is the reason stands alone.

use crate::store::StoreError;

/// Items that went together, and what came of them.
#[derive(Debug)]
pub struct IsolatedPiece<'a, T, R> {
    pub items: &'a [T],
    /// An error is permanent, and of one item.
    pub result: Result<R, StoreError>,
}

/// Does work for all items at once, and for fewer at a time where it fails permanently; what fails
/// has to leave nothing behind. A transient error says nothing about items: it ends this.
pub async fn isolate<T, R>(
    items: &[T],
    mut work: impl AsyncFnMut(&[T]) -> Result<R, StoreError>,
) -> Result<Vec<IsolatedPiece<'_, T, R>>, StoreError> {
    let mut done = Vec::new();
    let mut pieces = vec![items];
    while let Some(piece) = pieces.pop() {
        match work(piece).await {
            Err(error) if error.is_transient() => return Err(error),
            Err(_) if piece.len() > 1 => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.push(second);
                pieces.push(first);
            }
            result => done.push(IsolatedPiece {
                items: piece,
                result,
            }),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::isolate;
    use crate::store::StoreError;

    #[tokio::test]
    async fn good_items_go_together() {
        let mut calls = 0;
        let done = isolate(&[1, 2, 3], async |piece| {
            calls += 1;
            Ok(piece.len())
        })
        .await
        .unwrap();
        assert_eq!(calls, 1);
        assert_eq!(done.len(), 1);
        assert_eq!(done[0].items, [1, 2, 3]);
        assert!(matches!(done[0].result, Ok(3)));
    }

    #[tokio::test]
    async fn a_bad_item_stands_alone_and_the_others_are_done() {
        let items: Vec<i32> = (0..9).collect();
        let mut calls = 0;
        let done = isolate(&items, async |piece| {
            calls += 1;
            if piece.contains(&5) {
                Err(StoreError::RolledBack)
            } else {
                Ok(())
            }
        })
        .await
        .unwrap();
        let pieces: Vec<(&[i32], bool)> = done
            .iter()
            .map(|piece| (piece.items, piece.result.is_ok()))
            .collect();
        assert_eq!(
            pieces,
            [
                (&items[..4], true),
                (&items[4..5], true),
                (&items[5..6], false),
                (&items[6..], true),
            ]
        );
        assert_eq!(calls, 7);
    }

    #[tokio::test]
    async fn a_transient_error_is_no_reason_to_split() {
        let mut sizes = Vec::new();
        let done = isolate(&[1, 2, 3, 4], async |piece| {
            sizes.push(piece.len());
            Err::<(), _>(StoreError::Conflict)
        })
        .await;
        assert!(matches!(done, Err(StoreError::Conflict)));
        assert_eq!(sizes, [4]);
        // Nor while the bad item is looked for: the other half is not begun.
        sizes.clear();
        let done = isolate(&[1, 2, 3, 4], async |piece| {
            sizes.push(piece.len());
            Err::<(), _>(match piece.len() {
                4 => StoreError::RolledBack,
                _ => StoreError::Conflict,
            })
        })
        .await;
        assert!(matches!(done, Err(StoreError::Conflict)));
        assert_eq!(sizes, [4, 2]);
    }
}
