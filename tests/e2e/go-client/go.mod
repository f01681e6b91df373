module probesim/go-client

go 1.26
