//! What can be written as a value.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// What [`Transaction::put`](crate::Transaction::put) and [`set_result`](crate::Transaction::set_result) take: bytes and text, owned or
/// borrowed. What is owned is taken over without a copy ([`Bytes`], `Vec<u8>`, `String`); what is borrowed is copied.
///
/// # Examples
///
/// ```
/// # fn write(tx: &mut aft_core::Transaction, name: &str) -> Result<(), aft_core::Error> {
/// let text = format!("hello {name}");
/// tx.put("a", name)?;
/// tx.put("b", &text)?;
/// tx.put("c", text)?;
/// tx.put("d", 7u32.to_be_bytes())?;
/// tx.put("e", vec![1, 2, 3])?;
/// # Ok(())
/// # }
/// ```
pub trait IntoValue {
    /// The bytes of the value.
    fn into_value(self) -> Bytes;
}

/// Without a copy.
macro_rules! owned {
    ($($owned:ty),*) => {$(
        impl IntoValue for $owned {
            fn into_value(self) -> Bytes {
                self.into()
            }
        }
    )*};
}

owned!(Bytes, BytesMut, Vec<u8>, String, Box<[u8]>);

impl IntoValue for Box<str> {
    fn into_value(self) -> Bytes {
        String::from(self).into()
    }
}

impl<const N: usize> IntoValue for [u8; N] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl IntoValue for Cow<'_, str> {
    fn into_value(self) -> Bytes {
        self.into_owned().into()
    }
}

impl IntoValue for Cow<'_, [u8]> {
    fn into_value(self) -> Bytes {
        self.into_owned().into()
    }
}

/// Another handle of the same bytes.
impl IntoValue for &Bytes {
    fn into_value(self) -> Bytes {
        self.clone()
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

/// A copy.
macro_rules! borrowed {
    ($($borrowed:ty),*) => {$(
        impl IntoValue for &$borrowed {
            fn into_value(self) -> Bytes {
                let bytes: &[u8] = AsRef::<[u8]>::as_ref(self);
                Bytes::copy_from_slice(bytes)
            }
        }
    )*};
}

borrowed!([u8], Vec<u8>, String, BytesMut, Box<[u8]>);

impl<const N: usize> IntoValue for &[u8; N] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owned_is_not_copied_and_what_is_borrowed_is_the_same() {
        let owned = vec![b'a'; 100];
        let at = owned.as_ptr();
        let bytes = owned.into_value();
        assert_eq!(bytes.as_ptr(), at);
        assert_eq!((&bytes).into_value().as_ptr(), at);
        let text = "a".repeat(100);
        let array = [b'a'; 100];
        let borrowed = [
            text.as_str().into_value(),
            (&text).into_value(),
            text.as_bytes().into_value(),
            Cow::Borrowed(text.as_str()).into_value(),
            Cow::Borrowed(text.as_bytes()).into_value(),
            text.clone().into_boxed_str().into_value(),
            array.into_value(),
            (&array).into_value(),
            (&array.to_vec()).into_value(),
        ];
        assert!(borrowed.iter().all(|value| *value == bytes));
        let at = text.as_ptr();
        assert_eq!(text.into_value().as_ptr(), at);
    }
}
