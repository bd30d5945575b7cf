package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestBrowser visits the essay's stack as a person does, in headless Chromium: the chain,
// the counter, the administration, the traceback, and a change of the stack file while the
// page is open. STACKD_SCREENSHOTS names a folder that keeps what was seen.
func TestBrowser(t *testing.T) {
	chromium := peer(t, "chromium")
	file := filepath.Join(copyStacks(t), "webware.yaml")
	s := start(t, file)

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1100, 1200), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()

	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, s.log())
		}
		picture(ctx, t, what)
	}
	text := func(what, selector string, wanted ...string) {
		t.Helper()
		got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(selector)))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		contains(t, what, got, wanted...)
	}

	do("start", chromedp.Navigate(s.url+"/"), chromedp.WaitVisible(chromedp.CSS(".chain")))
	text("the chain", ".chain", "errors", "session", "finder", "webware.yaml:")

	do("counter", chromedp.Click(chromedp.CSS(`nav a[href="/counter"]`)), chromedp.WaitVisible(chromedp.CSS("#count")))
	text("the counter before", "#count", "0")
	for _, want := range []string{"1", "2"} {
		do("counted "+want, chromedp.Click(chromedp.CSS("#add")), chromedp.WaitVisible(`//p[@id="count" and text()="`+want+`"]`))
	}
	// The session outlives a reload of the page, and one of the stack.
	s.reload(func() { edit(t, file, `place: the public part`, `place: the part that was renamed`) })
	do("reloaded", chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#count")))
	text("the counter after a reload", "#count", "2")
	text("the new var", "footer", "the part that was renamed")

	do("admin", chromedp.Navigate(s.url+"/admin"), chromedp.WaitVisible(chromedp.CSS(`html[data-theme="dark"] h1`)))
	text("the administration", "main", "/admin/", "15m")

	do("traceback", chromedp.Navigate(s.url+"/fail"), chromedp.WaitVisible(chromedp.CSS("body")))
	text("the traceback", "body", "the page was asked to fail, and did", "fail.html", "errors", "webware.yaml:")

	s.reload(func() { edit(t, file, `\n    show: loopback`, ``) })
	do("plain", chromedp.Navigate(s.url+"/fail"), chromedp.WaitVisible(chromedp.CSS("body")))
	plain, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain, "fail.html") || strings.Contains(plain, "asked to fail") {
		t.Errorf("visitors are shown the inside:\n%s", plain)
	}
	// The id on the page is that of the log.
	incident := s.await("request failed", func(r record) bool { id, _ := r["incident"].(string); return id != "" && strings.Contains(plain, id) })
	if id, _ := incident["incident"].(string); id == "" {
		t.Errorf("the log has incident %q, and the page says:\n%s", id, plain)
	}
}

// picture keeps a screenshot when somebody wants to look.
func picture(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("STACKD_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
