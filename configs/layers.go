package configs

import (
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"linehall/internal/setting"
)

// envPrefix begins every environment variable that overrides a setting:
// listen.sip_udp is LINEHALL_LISTEN_SIP_UDP.
const envPrefix = "LINEHALL"

// EnvName returns the environment variable that overrides the setting at path.
func EnvName(path string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// layer lays environment variables and flags over what the file says. Only
// single settings outside lists can be overridden.
func (d *document) layer(config *Config, flags map[string]string) {
	leaves := map[string]reflect.Value{}
	collectLeaves(reflect.ValueOf(config).Elem(), "", leaves)
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AllowEmptyEnv(true)
	for path := range leaves {
		if text, written := d.leaves[path]; written {
			v.SetDefault(path, text)
		}
		if err := v.BindEnv(path); err != nil { // only fails without a key
			d.problems = append(d.problems, Problem{EnvName(path), 1, 1, err.Error()})
		}
	}
	for path, text := range flags {
		if _, known := leaves[path]; !known {
			d.problems = append(d.problems, Problem{"--" + path, 1, 1, "unknown setting" + setting.Hint(path, sortedPaths(leaves))})
			continue
		}
		v.Set(path, text)
	}
	for _, path := range sortedPaths(leaves) {
		source := origin(path, flags)
		if source == "" {
			continue
		}
		delete(d.failed, path)
		if message := d.assign(leaves[path], path, v.GetString(path)); message != "" {
			d.failed[path] = true
			d.problems = append(d.problems, Problem{source, 1, 1, message})
		}
	}
	d.unknownEnv(leaves)
}

// assign reads a setting, or the file of a secret.
func (d *document) assign(target reflect.Value, path, text string) string {
	if target.Type() == secretType && strings.HasSuffix(path, fileSuffix) {
		secret, problem := readSecret("", text)
		if problem == "" {
			target.Set(reflect.ValueOf(setting.Secret(secret)))
		}
		return problem
	}
	return setScalar(target, text)
}

// origin names the layer above the file that sets path, "" for none.
func origin(path string, flags map[string]string) string {
	if _, set := flags[path]; set {
		return "--" + path
	}
	if _, set := os.LookupEnv(EnvName(path)); set {
		return EnvName(path)
	}
	return ""
}

// unknownEnv reports variables that begin like a section of ours but name no
// setting: a typing error there would otherwise change nothing, silently.
func (d *document) unknownEnv(leaves map[string]reflect.Value) {
	names, sections := map[string]bool{}, map[string]bool{}
	for path := range leaves {
		names[EnvName(path)] = true
		section, _, _ := strings.Cut(path, ".")
		sections[EnvName(section)+"_"] = true
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if names[name] {
			continue
		}
		for section := range sections {
			if strings.HasPrefix(name, section) {
				known := make([]string, 0, len(names))
				for candidate := range names {
					known = append(known, candidate)
				}
				d.problems = append(d.problems, Problem{name, 1, 1, "unknown environment variable" + setting.Hint(name, known)})
			}
		}
	}
}

// collectLeaves finds every single setting outside lists.
func collectLeaves(value reflect.Value, path string, leaves map[string]reflect.Value) {
	for i := range value.NumField() {
		field, key := value.Field(i), value.Type().Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		at := setting.Join(path, key)
		switch {
		case isScalar(field.Type()):
			leaves[at] = field
			if field.Type() == secretType {
				leaves[at+fileSuffix] = field
			}
		case field.Kind() == reflect.Struct:
			collectLeaves(field, at, leaves)
		}
	}
}

func sortedPaths(leaves map[string]reflect.Value) []string {
	paths := make([]string, 0, len(leaves))
	for path := range leaves {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
