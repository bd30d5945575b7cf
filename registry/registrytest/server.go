package registrytest

var serverRules = []rule{}
