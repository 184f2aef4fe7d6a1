package dockerengine

// VersionOf is versionOf, for the tests.
var VersionOf = versionOf
