package registrytest

var reporterRules = []rule{}
