// Package standard registers the components that belong to stackd.
//
// A program imports it for that effect alone:
//
//	import _ "github.com/stackd/stackd/components/standard"
package standard

import (
	// Each of these registers its component.
	_ "github.com/stackd/stackd/components/apps/finder"
	_ "github.com/stackd/stackd/components/apps/health"
	_ "github.com/stackd/stackd/components/apps/proxy"
	_ "github.com/stackd/stackd/components/apps/redirect"
	_ "github.com/stackd/stackd/components/apps/respond"
	_ "github.com/stackd/stackd/components/factories/cgi"
	_ "github.com/stackd/stackd/components/factories/fastcgi"
	_ "github.com/stackd/stackd/components/factories/markdown"
	_ "github.com/stackd/stackd/components/factories/static"
	_ "github.com/stackd/stackd/components/factories/template"
	_ "github.com/stackd/stackd/components/hooks/alias"
	_ "github.com/stackd/stackd/components/hooks/archive"
	_ "github.com/stackd/stackd/components/hooks/redirects"
	_ "github.com/stackd/stackd/components/middleware/accesslog"
	_ "github.com/stackd/stackd/components/middleware/authbasic"
	_ "github.com/stackd/stackd/components/middleware/authforward"
	_ "github.com/stackd/stackd/components/middleware/bodylimit"
	_ "github.com/stackd/stackd/components/middleware/cacheheaders"
	_ "github.com/stackd/stackd/components/middleware/compress"
	_ "github.com/stackd/stackd/components/middleware/cors"
	_ "github.com/stackd/stackd/components/middleware/errors"
	_ "github.com/stackd/stackd/components/middleware/headers"
	_ "github.com/stackd/stackd/components/middleware/maintenance"
	_ "github.com/stackd/stackd/components/middleware/metrics"
	_ "github.com/stackd/stackd/components/middleware/ratelimit"
	_ "github.com/stackd/stackd/components/middleware/realip"
	_ "github.com/stackd/stackd/components/middleware/requestid"
	_ "github.com/stackd/stackd/components/middleware/rewrite"
	_ "github.com/stackd/stackd/components/middleware/session"
	_ "github.com/stackd/stackd/components/reporters/files"
	_ "github.com/stackd/stackd/components/reporters/log"
	_ "github.com/stackd/stackd/components/reporters/mail"
	_ "github.com/stackd/stackd/components/reporters/webhook"
	_ "github.com/stackd/stackd/components/servers/fastcgi"
	_ "github.com/stackd/stackd/components/servers/http"
	_ "github.com/stackd/stackd/components/servers/scgi"
	_ "github.com/stackd/stackd/components/servers/webkit"
	_ "github.com/stackd/stackd/components/stores/memory"
	_ "github.com/stackd/stackd/components/stores/sqlite"
)
