// Package crash tests the library in processes of their own, which are killed, stopped and cut off at any moment, over real
// stores and a real Docker engine. It has tests only.
//
// The test binary starts itself again as a worker, which hosts a Provider and creates, uses and terminates sessions at
// random. It tells on its standard output what it is about to do and what was acknowledged. The parent keeps the books,
// does the harm, and, whenever no worker runs, holds the records of the store against each other, against the books and
// against the engine.
package crash
