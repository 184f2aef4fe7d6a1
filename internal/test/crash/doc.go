// Package crash tests the library in processes of their own, which are killed, stopped and cut off at any moment, over real
// stores and a real Docker engine. It has tests only.
//
// The test binary starts itself again as a worker, which hosts a Provider and creates, uses and terminates sessions at
// random. It writes each operation to its standard output before it begins and after it is acknowledged. The parent
// keeps a log of them and does the harm. Whenever no worker runs, it compares the records of the store with each other,
// with the log and with the engine.
package crash
