package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"linehall/configs"
	"linehall/internal/directory"
)

// printBanner says in one screen where to look, where the password is, how to trust the authority and how to register a
// softphone. It never prints a secret.
func printBanner(out io.Writer, config configs.Config, g *ground, host string) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	console := "https://" + net.JoinHostPort(host, portOf(string(config.Listen.HTTPS)))
	tool := "bin/linehall"
	options := commandOptions(g.options(config))

	line("")
	line("连厅 Linehall %s · %s", version, config.Appliance.Name)
	line("")
	line("  管理台 Console        %s", console+"/")
	if g.passwordFile != "" {
		line("    用户 user admin，密码 password: cat %s", g.passwordFile)
	}
	for _, room := range config.Conference.Rooms {
		line("  会议室 Room %s      %s/room/%s   %s", room.Number, console, room.Number, room.Name)
		if len(room.Venues) > 0 {
			line("    免点击入会 join without a click: %s room link %s --venue %s%s", tool, room.Number, room.Venues[0], options)
		}
	}
	line("  指标 Metrics          http://%s/metrics", config.Listen.Metrics)
	line("")
	line("  信任证书 Trust        %s", g.authority.RootFile())
	line("    SHA-256 %s", g.authority.Fingerprint())
	line("    浏览器导入此根证书 import it into the browser, or accept the warning once on a test machine")
	line("    话机用 phones use %s", g.authority.PhoneRootFile())
	line("")
	if extension, ok := firstExtension(g.directory.All()); ok {
		line("  软电话 Softphone      %s terminal show %s --secrets%s", tool, extension, options)
		line("    SIP %s  域 domain %s  udp/tcp %s  tls %s", host, config.Appliance.Domain, portOf(string(config.Listen.SIPUDP)), portOf(string(config.Listen.SIPTLS)))
	}
	line("")
	line("  健康检查 Health: %s doctor%s   ·   停止 stop: Ctrl-C", tool, options)
	line("")
	_, _ = io.WriteString(out, b.String()) // a closed terminal is no reason to end
}

// bannerPaths are the places that the hints' commands need when they are not the usual ones.
type bannerPaths struct{ config, data string }

func (g *ground) options(config configs.Config) bannerPaths {
	return bannerPaths{config: config.Path(), data: config.Appliance.Data}
}

// commandOptions are the flags with which another shell reaches this appliance.
func commandOptions(p bannerPaths) string {
	var options string
	if p.config != "configs/linehall.yaml" && p.config != "/etc/linehall/linehall.yaml" {
		options += " --config " + p.config
	}
	if filepath.Clean(p.data) != "data" {
		options += " --data " + p.data
	}
	return options
}

func firstExtension(terminals []directory.Terminal) (string, bool) {
	for _, terminal := range terminals {
		if terminal.MayRegister() {
			return terminal.Extension, true
		}
	}
	return "", false
}

func portOf(listen string) string {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	return port
}
