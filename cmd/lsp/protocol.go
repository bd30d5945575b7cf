package lsp

// The parts of the Language Server Protocol, version 3.17, that are used. See
// https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/.
type (
	initializeParams struct {
		Capabilities struct {
			General struct {
				PositionEncodings []string `json:"positionEncodings"`
			} `json:"general"`
		} `json:"capabilities"`
	}
	initializeResult struct {
		Capabilities capabilities `json:"capabilities"`
		ServerInfo   serverInfo   `json:"serverInfo"`
	}
	capabilities struct {
		PositionEncoding   string            `json:"positionEncoding"`
		TextDocumentSync   syncOptions       `json:"textDocumentSync"`
		Hover              bool              `json:"hoverProvider"`
		Definition         bool              `json:"definitionProvider"`
		DocumentFormatting bool              `json:"documentFormattingProvider"`
		Completion         completionOptions `json:"completionProvider"`
	}
	syncOptions struct {
		OpenClose bool `json:"openClose"`
		Change    int  `json:"change"`
		Save      bool `json:"save"`
	}
	completionOptions struct {
		TriggerCharacters []string `json:"triggerCharacters"`
	}
	serverInfo struct {
		Name string `json:"name"`
	}

	// documentParams are those of all notifications and requests that are about a document, each with what it needs.
	documentParams struct {
		TextDocument struct {
			URI     string `json:"uri"`
			Version int    `json:"version"`
			Text    string `json:"text"`
		} `json:"textDocument"`
		ContentChanges []struct {
			Text string `json:"text"`
		} `json:"contentChanges"`
		Position position `json:"position"`
	}

	publishParams struct {
		URI         string       `json:"uri"`
		Version     *int         `json:"version,omitempty"`
		Diagnostics []diagnostic `json:"diagnostics"`
	}
	diagnostic struct {
		Range    span   `json:"range"`
		Severity int    `json:"severity"`
		Code     string `json:"code"`
		Source   string `json:"source"`
		Message  string `json:"message"`
	}
	hover struct {
		Contents markup `json:"contents"`
		Range    span   `json:"range"`
	}
	markup struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	}
	location struct {
		URI   string `json:"uri"`
		Range span   `json:"range"`
	}
	textEdit struct {
		Range   span   `json:"range"`
		NewText string `json:"newText"`
	}
	completionItem struct {
		Label         string   `json:"label"`
		Kind          int      `json:"kind"`
		Detail        string   `json:"detail,omitempty"`
		Documentation markup   `json:"documentation"`
		SortText      string   `json:"sortText"`
		TextEdit      textEdit `json:"textEdit"`
	}
)

// The numbers of the protocol.
const (
	syncFull = 1

	severityError   = 1
	severityWarning = 2

	kindModule   = 9  // a component
	kindProperty = 10 // a key
	kindValue    = 12

	notInitialized = -32002
	requestFailed  = -32803
)

func markdown(text string) markup { return markup{"markdown", text} }
