package main

type journalCommand struct{}
