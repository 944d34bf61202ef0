//! [`Records`]: a listing, read a page at a time.

use crate::backend::Pages;
use crate::{Error, Record};

/// Records, read a page at a time. Ends after an error.
///
/// As an iterator it blocks the thread for each page; [`next`](Records::next_record) is for asynchronous callers.
#[derive(Debug)]
pub struct Records {
    pages: Option<Box<dyn Pages>>,
    page: std::vec::IntoIter<Record>,
}

impl Records {
    /// What `pages` gives.
    pub fn new(pages: Box<dyn Pages>) -> Records {
        Records { pages: Some(pages), page: Vec::new().into_iter() }
    }

    /// The next record; `None` at the end.
    ///
    /// Cancel safety: dropped half-way, a page may be lost.
    pub async fn next_record(&mut self) -> Option<Result<Record, Error>> {
        loop {
            if let Some(record) = self.page.next() {
                return Some(Ok(record));
            }
            let page = self.pages.as_mut()?.next_page().await;
            if let Err(error) = self.take(page)? {
                return Some(Err(error));
            }
        }
    }

    /// Goes on with a page; `None` at the end.
    fn take(&mut self, page: Result<Vec<Record>, Error>) -> Option<Result<(), Error>> {
        match page {
            Ok(page) if !page.is_empty() => {
                self.page = page.into_iter();
                Some(Ok(()))
            }
            Ok(_) => {
                self.pages = None;
                None
            }
            Err(error) => {
                self.pages = None;
                Some(Err(error))
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.page.next() {
                return Some(Ok(record));
            }
            let page = self.pages.as_mut()?.next_page().wait();
            if let Err(error) = self.take(page)? {
                return Some(Err(error));
            }
        }
    }
}
