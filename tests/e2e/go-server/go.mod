module probesim/go-server

go 1.26
