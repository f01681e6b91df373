module probesim/go-prober

go 1.26
