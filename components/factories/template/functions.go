package template

import (
	"errors"
	"fmt"
	html "html/template"
	"reflect"
	"strings"
	"time"
)

// functions are what pages may call beside text/template's own.
func functions() html.FuncMap {
	return html.FuncMap{
		"default": orDefault,
		"join":    join,
		"lower":   strings.ToLower,
		"upper":   strings.ToUpper,
		"date":    func(layout string, t time.Time) string { return t.Format(layout) },
		"fail":    func(message string) (string, error) { return "", errors.New(message) },
	}
}

func orDefault(fallback, value any) any {
	if truth, ok := html.IsTrue(value); ok && truth {
		return value
	}
	return fallback
}

func join(separator string, list any) (string, error) {
	v := reflect.ValueOf(list)
	switch v.Kind() {
	case reflect.Invalid:
		return "", nil
	case reflect.Slice, reflect.Array:
	default:
		return "", fmt.Errorf("the list is a %T; it must be a list", list)
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, separator), nil
}
