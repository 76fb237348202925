package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/database"
)

// DatabaseName is the database's file inside the data directory.
const DatabaseName = "linehall.db"

// leastFree is what must stay free: the write-ahead log of a busy day and a backup of the database.
const leastFree = 500 << 20

func dataDirectory(_ context.Context, config configs.Config) Finding {
	const check = "data directory"
	dir := config.Appliance.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return note(check, dir+" does not exist yet", "the first start of `linehall serve` makes it")
	case err != nil:
		return bad(check, err.Error(), "make the directory readable for the service's user")
	case !info.IsDir():
		return bad(check, dir+" is a file", "choose another appliance.data")
	case info.Mode().Perm()&0o077 != 0:
		return note(check, fmt.Sprintf("%s can be opened by others (%v)", dir, info.Mode().Perm()), "chmod 700 "+dir+": it holds keys and passwords")
	}
	probe, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return bad(check, "cannot be written: "+err.Error(), "run doctor as the service's user; check the owner and the mount")
	}
	_ = probe.Close()           // nothing was written
	_ = os.Remove(probe.Name()) // an empty file left behind does no harm
	return good(check, dir+" can be written")
}

func diskSpace(_ context.Context, config configs.Config) Finding {
	const check = "disk space"
	var stat syscall.Statfs_t
	dir := config.Appliance.Data
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(dir)
	}
	if err := syscall.Statfs(dir, &stat); err != nil {
		return note(check, "cannot be read: "+err.Error(), "")
	}
	free := int64(stat.Bavail) * stat.Bsize
	says := fmt.Sprintf("%d MiB free at %s", free>>20, dir)
	if free < leastFree {
		return bad(check, says, fmt.Sprintf("free at least %d MiB: on a full disk calls go on, but nothing is recorded", leastFree>>20))
	}
	return good(check, says)
}

func databaseFile(ctx context.Context, config configs.Config) Finding {
	const check = "database"
	path := filepath.Join(config.Appliance.Data, DatabaseName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return note(check, "there is none yet", "the first start makes it")
	}
	db, err := database.Open(ctx, path)
	if err != nil {
		return bad(check, err.Error(), "restore the last backup, or move the file away to begin anew")
	}
	defer func() { _ = db.Close() }() // only read
	if err := database.Check(ctx, db); err != nil {
		return bad(check, err.Error(), "restore the last backup")
	}
	return good(check, "whole")
}

func auditChain(ctx context.Context, config configs.Config) Finding {
	const check = "audit log"
	path := filepath.Join(config.Appliance.Data, DatabaseName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return note(check, "there is none yet", "")
	}
	db, err := database.Open(ctx, path)
	if err != nil {
		return bad(check, err.Error(), "")
	}
	defer func() { _ = db.Close() }() // only read
	events, err := audit.Open(ctx, db)
	if err != nil {
		return bad(check, err.Error(), "")
	}
	count, err := events.Verify(ctx)
	if err != nil {
		return bad(check, err.Error(), "someone changed the database outside the appliance: compare with a backup")
	}
	return good(check, fmt.Sprintf("%d records, none altered", count))
}

// expirySoon is when a certificate's end deserves a word.
const expirySoon = 30 * 24 * time.Hour

func certificates(_ context.Context, config configs.Config) Finding {
	const check = "certificates"
	files, err := filepath.Glob(filepath.Join(config.Appliance.Data, "pki", "*.crt"))
	if err != nil || len(files) == 0 {
		return note(check, "there are none yet", "the first start makes an own authority")
	}
	first, whose := time.Time{}, ""
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return bad(check, err.Error(), "make the file readable for the service's user")
		}
		block, _ := pem.Decode(content)
		if block == nil {
			return bad(check, file+" is no PEM file", "restore it from a backup")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return bad(check, fmt.Sprintf("%s: %v", file, err), "restore it from a backup")
		}
		if first.IsZero() || certificate.NotAfter.Before(first) {
			first, whose = certificate.NotAfter, filepath.Base(file)
		}
	}
	left := time.Until(first)
	says := fmt.Sprintf("the first to end is %s, on %s", whose, first.Local().Format(time.DateOnly))
	if left < 0 {
		return bad(check, says, "start the appliance: it renews its own; replace the organisation's by hand")
	}
	if left < expirySoon {
		return note(check, says, "own certificates renew by themselves; replace the organisation's by hand")
	}
	return good(check, says)
}
