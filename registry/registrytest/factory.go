package registrytest

var factoryRules = []rule{}
