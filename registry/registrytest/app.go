package registrytest

var appRules = []rule{}
