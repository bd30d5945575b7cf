package registrytest

var hookRules = []rule{}
