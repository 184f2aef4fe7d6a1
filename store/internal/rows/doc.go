// Package rows is what the stores in a database have in common: a record as a row of the table that package store's
// documentation describes, the queries as SQL that both databases read, and Updates that share commits.
//
//   - [Encode] and [Decode] are the codec, [ColumnsOf] what queries compare.
//   - [View] is a store.View over a [Source].
//   - [Batcher] is a store's Update over a [Backend].
package rows
