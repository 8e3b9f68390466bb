package sqlite

import (
	"context"
	"database/sql"
)

// statements are prepared once: SQLite's parser costs as much as a small query.
type statements struct {
	insertScript, insertSession, insertLog, insertLogs *sql.Stmt
	countExecutes, putOffset, takeContext, putContext  *sql.Stmt

	findSession, findScript, findFunction, findOffset, findKey *sql.Stmt
	listFunctions, countFunctions                              *sql.Stmt
}

func (s *statements) prepare(ctx context.Context, write, read *sql.DB) error {
	for _, p := range []struct {
		db    *sql.DB
		to    **sql.Stmt
		query string
	}{
		{write, &s.insertScript, insertScript},
		{write, &s.insertSession, insertSession},
		{write, &s.insertLog, insertLogs(1)},
		{write, &s.insertLogs, insertLogs(rowsPerInsert)},
		{write, &s.countExecutes, countExecutes},
		{write, &s.putOffset, putOffset},
		{write, &s.takeContext, takeContext},
		{write, &s.putContext, putContext},
		{read, &s.findSession, findSession},
		{read, &s.findScript, findScript},
		{read, &s.findFunction, findFunction},
		{read, &s.findOffset, findOffset},
		{read, &s.findKey, findKey},
		{read, &s.listFunctions, listFunctions},
		{read, &s.countFunctions, countFunctions},
	} {
		statement, err := p.db.PrepareContext(ctx, p.query)
		if err != nil {
			return err
		}
		*p.to = statement // closed with its pool
	}
	return nil
}
